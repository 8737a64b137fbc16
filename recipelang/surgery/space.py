"""Modules of a user's code, imported for a single network.

Each piece of code gets its own package in `sys.modules`, `_recipelang_user_<digest>`, under which its modules
are loaded. The `import` statements of these modules look there first, whether they run at the top, in a function, or in
`forward`: `sys.path` is not changed, and two folders with a `helper.py` each get their own.
"""

from __future__ import annotations

import builtins
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import io
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from importlib.readers import FileReader
from pathlib import Path
from types import ModuleType
from typing import Any

from recipelang.errors import Refusal
from recipelang.surgery.codebase import Code, FoundModule, installed, locate, of_installation

PREFIX = "_recipelang_user_"
_spaces: dict[str, Space] = {}


def space_of(code: Code) -> Space:
    """The space of this code; identical code in the same place shares one."""
    for name, space in _spaces.items():
        if (space.code.file, space.code.digest) == (code.file, code.digest):
            return _spaces[name]
    alike = sum(space.code.digest == code.digest for space in _spaces.values())
    space = Space(f"{PREFIX}{code.digest[:16]}" + (f"_{alike + 1}" if alike else ""), code)
    _spaces[space.name] = space
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
    return space


@contextmanager
def built_apart() -> Iterator[None]:
    """Inside, all code is imported again, even if loaded, and what it prints is discarded.

    Afterwards the modules loaded before are restored.
    """
    path = list(sys.path)
    # What the code added when it ran it must add again.
    sys.path[:] = [entry for entry in path if all(entry in space._path for space in _spaces.values())]
    # Copies: trackers import their libraries in threads of their own.
    loaded = {name: module for name, module in list(sys.modules.items()) if name.startswith(PREFIX)}
    spaces = dict(_spaces)
    _unload()
    _spaces.clear()
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            yield
    finally:
        sys.path[:] = path
        _unload()
        sys.modules.update(loaded)
        _spaces.clear()
        _spaces.update(spaces)


def _unload() -> None:
    for name in [name for name in list(sys.modules) if name.startswith(PREFIX)]:
        del sys.modules[name]


class Space:
    """The modules of one piece of code.

    Args:
        name: of the package that holds them in `sys.modules`.
        code: what may be loaded into it.

    Attributes:
        read: paths of the files that it read while building networks.
    """

    def __init__(self, name: str, code: Code) -> None:
        self.name, self.code = name, code
        self.read: set[str] = set()
        self._path = frozenset(sys.path)
        self._building = False
        self._added: dict[Path, None] = {}
        self._builtins: dict[str, Any] = {**vars(builtins), "__import__": self._import}
        package = ModuleType(name)
        package.__path__ = []
        sys.modules[name] = package

    @contextmanager
    def building(self) -> Iterator[ModuleType]:
        """The Python file as a module. Raises whatever the code raises, and then unloads it."""
        self._building = True
        try:
            yield importlib.import_module(f"{self.name}.{self.code.name}")
        except BaseException:
            self.forget()
            raise
        finally:
            self._building = False

    def forget(self) -> None:
        """Unload everything, so that a later attempt starts from scratch."""
        for name in [n for n in list(sys.modules) if n == self.name or n.startswith(f"{self.name}.")]:
            del sys.modules[name]
        _spaces.pop(self.name, None)

    def spec(self, name: str) -> importlib.machinery.ModuleSpec | None:
        """How to load the module of this dotted name; None where there is none."""
        known = self.code.modules.get(name)
        found = FoundModule(known, (known.parent,)) if known else locate(name, self._search())
        if found is None:
            return None
        full = f"{self.name}.{name}"
        if found.file is None:
            spec = importlib.machinery.ModuleSpec(full, None, is_package=True)
            spec.submodule_search_locations = [str(folder) for folder in found.inside]
            return spec
        data = self.code.contents.get(found.file)
        if data is None:
            raise self._stranger(found.file)
        inside = [str(found.file.parent)] if found.file.name == "__init__.py" else None
        loader: Any = _Loader(found.file, data, self._builtins)
        if found.file.suffix != ".py":
            loader = importlib.machinery.ExtensionFileLoader(full, str(found.file))
        return importlib.util.spec_from_file_location(
            full, found.file, loader=loader, submodule_search_locations=inside
        )

    def _search(self) -> tuple[Path, ...]:
        """The roots, and the folders that the code has put into `sys.path` itself."""
        added = dict.fromkeys(Path(os.path.abspath(entry)) for entry in sys.path if entry not in self._path)
        self._added.update({folder: None for folder in added if not of_installation(folder)})
        return (*self.code.roots, *self._added)

    def _holds(self, name: str, importer: str) -> bool:
        """Whether an absolute import means a module of this space, and not an installed one with the same name."""
        if not name or (f"{self.name}.{name}" == importer and installed(name)):
            return False
        top, _, below = name.partition(".")
        if top in self.code.modules:
            return True
        found = locate(top, self._search())
        if found is not None and found.file is None and below:
            found = locate(f"{top}.{below.partition('.')[0]}", self._search())
        # After the network is built, other code may have changed `sys.path` too.
        return found is not None and (self._building or found.file is None or found.file in self.code.contents)

    def _import(
        self,
        name: str,
        globals: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> ModuleType:
        """`__import__` for the modules of this space."""
        importer = str((globals or {}).get("__name__", ""))
        if level == 0 and self._holds(name, importer):
            found = builtins.__import__(f"{self.name}.{name}", globals, locals, fromlist or (), 0)
            return found if fromlist else sys.modules[f"{self.name}.{name.partition('.')[0]}"]
        found = builtins.__import__(name, globals, locals, fromlist or (), level)
        return self._importlib() if found is importlib and level == 0 else found

    def _importlib(self) -> ModuleType:
        """`importlib` with an `import_module` that looks here first."""

        def import_module(name: str, package: str | None = None) -> ModuleType:
            here = not name.startswith(".") and self._holds(name, "")
            return importlib.import_module(f"{self.name}.{name}" if here else name, package)

        own = ModuleType("importlib")
        own.__dict__.update({**vars(importlib), "import_module": import_module})
        return own

    def _stranger(self, file: Path) -> Refusal:
        return Refusal(
            "RCP0740",
            f"`{self.code.file.name}` imports `{file.parent.name}/{file.name}`, which is not in its folder: changes "
            "would go unnoticed",
            f"put it into the folder of `{self.code.file.name}`, or add its folder to `PYTHONPATH` instead "
            "of changing `sys.path`",
        )


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the modules of all spaces by their full names."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        first, _, name = fullname.partition(".")
        space = _spaces.get(first)
        return space.spec(name) if space and name else None


class _Loader(importlib.abc.SourceLoader):
    """Runs the bytes that were hashed, even if the file has changed since; no compiled files are read or written."""

    def __init__(self, file: Path, data: bytes, own_builtins: dict[str, Any]) -> None:
        self.file, self.data, self.builtins = file, data, own_builtins
        self.path = str(file)  # of which `FileReader` takes the folder

    def get_filename(self, fullname: str) -> str:
        return str(self.file)

    def get_data(self, path: Any) -> bytes:
        return self.data if str(path) == str(self.file) else Path(path).read_bytes()

    def get_resource_reader(self, fullname: str) -> FileReader:
        """For `importlib.resources.files(__package__)`: what lies beside the module."""
        own: Any = self  # all that it asks for is `path`
        return FileReader(own)

    def exec_module(self, module: ModuleType) -> None:
        module.__dict__["__builtins__"] = self.builtins
        super().exec_module(module)
