"""Which files a Python file imports from beside it: read from their text, never by running them.

net.py ──read──▶ its import statements, those inside functions too ──▶ helper.py, pkg/__init__.py, pkg/blocks.py ──▶ …
"""

from __future__ import annotations

import hashlib
import os
import sys
import sysconfig
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.machinery import EXTENSION_SUFFIXES
from importlib.util import find_spec
from pathlib import Path

from recipelang.errors import Refusal
from recipelang.surgery.imports import imports_of

SUFFIXES = (".py", *EXTENSION_SUFFIXES)
LARGEST_FILE = 2**25  # bytes
MOST_FILES, MOST_FOLDERS = 2_000, 20_000
ABOVE = 3  # folders
#: packages that every network shares, even if files beside it have their names
SHARED = {"recipelang", "torch", "torchvision", "numpy", "__future__", *sys.builtin_module_names}


@dataclass(frozen=True)
class FoundModule:
    """A module that was found: its file, None for a folder without `__init__.py`; and the folders of its submodules."""

    file: Path | None
    inside: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Code:
    """A Python file and everything that it imports from beside it.

    Attributes:
        file: the Python file.
        name: its dotted name under one of the roots: `net`, or `nets.mine` where it uses relative imports.
        roots: the folders in which its imports are looked up, in this order.
        modules: dotted name → file, the Python file among them.
        contents: file → its bytes as read when the imports were followed.
    """

    file: Path
    name: str
    roots: tuple[Path, ...]
    modules: Mapping[str, Path]
    contents: Mapping[Path, bytes]

    @cached_property
    def hashes(self) -> dict[str, str]:
        """Path as the imports name it (`pkg/blocks.py`) → SHA-256 in hex; the Python file first."""
        names = sorted(self.modules, key=lambda name: (name != self.name, name))
        return {
            shown(name, self.modules[name]): hashlib.sha256(self.contents[self.modules[name]]).hexdigest()
            for name in names
        }

    @cached_property
    def digest(self) -> str:
        """SHA-256 in hex: of the file if it is the only one, else of all hashes with their paths."""
        if len(self.hashes) == 1:
            return next(iter(self.hashes.values()))
        lines = sorted(f"{digest}  {path}\n" for path, digest in self.hashes.items())
        return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()

    @property
    def files(self) -> tuple[Path, ...]:
        """All files, the Python file first, the others in the order of their names."""
        return tuple(dict.fromkeys([self.file, *(self.modules[name] for name in sorted(self.modules))]))


def read_code(file: Path, *, above: bool = False) -> Code:
    """Follow the imports of a Python file.

    Imports are followed through packages, relative imports and functions, also those under a condition.
    They are looked up beside the file, in the folder above its package and in the folders of `PYTHONPATH`; installed
    packages are not followed. Where a file changes `sys.path` or names modules at run time, every Python file under
    its folder is included, and imports are looked up in the folders above as well.

    Args:
        file: the Python file.
        above: whether to look in the folders above from the start.

    Raises:
        OSError: the file cannot be read.
        Refusal: RCP0741: the files beside it are too many or too large.
    """
    file = Path(os.path.abspath(file))
    data = _bytes(file)
    name, roots = _placed(file, imports_of(data, "").level)
    roots += _above(file) if above else ()
    modules: dict[str, Path] = {name: file}
    contents: dict[Path, bytes] = {file: data}
    waiting, open_ended = [name], False
    while waiting:
        name_here = waiting.pop()
        path = modules[name_here]
        if path.suffix != ".py":
            continue
        package = name_here if path.name == "__init__.py" else name_here.rpartition(".")[0]
        found = imports_of(contents[path], package)
        if found.open_ended and not open_ended:
            if not above:
                return read_code(file, above=True)
            open_ended = True
            _add(_all_below(roots[0] if file.is_relative_to(roots[0]) else file.parent), modules, contents, waiting)
        for wanted in found.names:
            _add(_along(wanted, roots), modules, contents, waiting)
    return Code(file, name, roots, modules, contents)


def locate(name: str, roots: Iterable[Path]) -> FoundModule | None:
    """Where a module of this dotted name is under the roots, by Python's own rules; None where there is none.

    A folder without `__init__.py` counts only where no installed package has its name.
    """
    top, *rest = name.split(".")
    if top in SHARED:
        return None
    found = _in(top, tuple(roots))
    if found and found.file is None and installed(top):
        return None
    for part in rest:
        found = _in(part, found.inside) if found else None
    return found


def shown(name: str, file: Path) -> str:
    """The path of a module as its imports name it: `pkg/blocks.py`."""
    parts = name.split(".")
    return "/".join([*(parts if file.name == "__init__.py" else parts[:-1]), file.name])


def _add(
    found: Iterable[tuple[str, Path]], modules: dict[str, Path], contents: dict[Path, bytes], waiting: list[str]
) -> None:
    for name, path in found:
        if name not in modules:
            if len(modules) == MOST_FILES:
                raise _too_much(f"more than {MOST_FILES:,} Python files belong to it")
            try:
                contents[path] = contents[path] if path in contents else _bytes(path)
            except OSError:
                continue  # importing it reports the error
            modules[name] = path
            waiting.append(name)


def _along(wanted: str, roots: tuple[Path, ...]) -> Iterator[tuple[str, Path]]:
    """Every file that runs when a dotted name is imported: its parent packages and itself. `a.*` is all of `a`."""
    parts = wanted.split(".")
    for count in range(1, len(parts) + 1):
        name = ".".join(parts[:count])
        if parts[count - 1] == "*":
            package = locate(".".join(parts[: count - 1]), roots)
            for stem in sorted(
                {_stem(file) for folder in package.inside for file in _listed(folder)} if package else ()
            ):
                yield from _one(f"{name[:-1]}{stem}", roots)
        else:
            yield from _one(name, roots)


def _one(name: str, roots: tuple[Path, ...]) -> Iterator[tuple[str, Path]]:
    found = locate(name, roots)
    if found and found.file:
        yield name, found.file


def _in(name: str, folders: tuple[Path, ...]) -> FoundModule | None:
    """A module of this undotted name in one of the folders."""
    spaces: list[Path] = []
    for folder in folders:
        inside = folder / name
        if (inside / "__init__.py").is_file():
            return FoundModule(inside / "__init__.py", (inside,))
        for suffix in SUFFIXES:
            if (file := folder / f"{name}{suffix}").is_file():
                return FoundModule(file)
        if name and inside.is_dir():
            spaces.append(inside)
    return FoundModule(None, tuple(spaces)) if spaces else None


def _placed(file: Path, level: int) -> tuple[str, tuple[Path, ...]]:
    """The dotted name of the Python file, and the folders in which its imports are looked up."""
    above, chain = file.parent, 0
    while (above / "__init__.py").is_file() and above != above.parent:
        above, chain = above.parent, chain + 1
    depth = max(chain, level - 1) if level else 0
    names = file.parts[-depth - 1 : -1] if depth else ()
    home = file.parents[min(depth, len(file.parents) - 1)]
    path = [Path(os.path.abspath(folder)) for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder]
    roots = dict.fromkeys([home, file.parent, file.resolve().parent, *([above] if chain else []), *path])
    own = {home, file.parent}
    return (
        ".".join([*names, file.name.removesuffix(".py").replace(".", "_")]),
        tuple(root for root in roots if root in own - _INSTALLED or not of_installation(root)),
    )


def _above(file: Path) -> tuple[Path, ...]:
    """The next folders above that of a file, except the home folder: projects put these into `sys.path`."""
    shared = {Path.home(), Path(file.anchor), Path(tempfile.gettempdir())}
    return tuple(folder for folder in file.parents[1 : 1 + ABOVE] if folder not in shared)


_INSTALLED = {Path(sysconfig.get_paths()[kind]) for kind in ("stdlib", "platstdlib", "purelib", "platlib")}


def of_installation(folder: Path) -> bool:
    """Whether a folder holds installed packages, which are not the user's own code."""
    return folder in _INSTALLED or bool({"site-packages", "dist-packages"} & set(folder.parts))


def _all_below(folder: Path) -> Iterator[tuple[str, Path]]:
    """Every Python file under a folder with its dotted name; environments and hidden folders are left out."""
    for seen, (here, folders, files) in enumerate(os.walk(folder)):
        if seen == MOST_FOLDERS:
            raise _too_much(f"there are more than {MOST_FOLDERS:,} folders beside it")
        folders[:] = sorted(name for name in folders if _of_project(Path(here, name)))
        inner = Path(here).relative_to(folder).parts
        for file in sorted(Path(here, name) for name in files if name.endswith(SUFFIXES)):
            if file.is_file():
                yield ".".join([*inner, *([_stem(file)] if file.name != "__init__.py" else [])]) or "__init__", file


def _of_project(folder: Path) -> bool:
    name = folder.name
    hidden = name.startswith(".") or name in ("__pycache__", "site-packages", "dist-packages", "node_modules")
    return not hidden and not (folder / "pyvenv.cfg").is_file()


def _listed(folder: Path) -> list[Path]:
    """The modules and packages directly in a folder."""
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        return []
    return [
        e for e in entries if e.name != "__init__.py" and (e.name.endswith(SUFFIXES) or (e / "__init__.py").is_file())
    ]


def _stem(file: Path) -> str:
    return file.name.partition(".")[0]


def installed(top: str) -> bool:
    """Whether an installed package, not only a folder, has this name."""
    try:
        spec = find_spec(top)
    except (ImportError, ValueError):
        return top in sys.modules
    return spec is not None and spec.origin is not None


def _bytes(file: Path) -> bytes:
    with file.open("rb") as opened:
        data = opened.read(LARGEST_FILE + 1)
    if len(data) > LARGEST_FILE:
        raise _too_much(f"`{file.name}` is larger than {LARGEST_FILE // 2**20} MiB")
    return data


def _too_much(why: str) -> Refusal:
    return Refusal(
        "RCP0741",
        f"the code of the network is too large: {why}",
        "put the file that builds the network into its own folder, with only what it imports",
    )
