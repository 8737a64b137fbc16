"""What a Python file imports, read from its text."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

#: calls whose literal argument names a module
IMPORTERS = {"import_module", "__import__"}
#: names whose use loads files that no import statement names
UNREADABLE = {"spec_from_file_location", "SourceFileLoader", "run_path", "run_module", "walk_packages", "iter_modules"}


@dataclass(frozen=True)
class Imports:
    """What a file imports.

    Attributes:
        names: the dotted names, relative ones made absolute; `a.*` for all of `a`.
        level: the largest number of dots of a relative import.
        open_ended: whether it loads code that its import statements do not name.
    """

    names: tuple[str, ...] = ()
    level: int = 0
    open_ended: bool = False


@lru_cache(maxsize=1024)  # a run asks several times, and a project has hundreds of files
def imports_of(data: bytes, package: str) -> Imports:
    """What a file with this content imports as a module of `package`; nothing where it is not Python."""
    tree = _parsed(data)
    if tree is None:
        return Imports()
    levels = [node.level for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    names = tuple(dict.fromkeys(_imported(tree, package)))
    return Imports(names, max(levels, default=0), _loads_by_other_means(tree))


def _parsed(data: bytes) -> ast.Module | None:
    """The syntax tree; None where the text is not Python."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about escapes and the like: running the file shows them
            return ast.parse(data)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _imported(tree: ast.Module, package: str) -> Iterator[str]:
    """The dotted names that a file imports anywhere, relative ones made absolute."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                base = _absolute(module or "", level, package)
                if base is not None:
                    yield from (f"{base}.{alias.name}".lstrip(".") for alias in names)
            case ast.Call(func=func, args=[ast.Constant(value=str(text)), *_]) if _called(func) in IMPORTERS:
                level = len(text) - len(text.lstrip("."))
                base = _absolute(text[level:], level, package)
                if base:
                    yield base


def _absolute(name: str, level: int, package: str) -> str | None:
    """The absolute form of a name relative to its package; None where it leads above the roots."""
    if level == 0:
        return name
    parts = package.split(".") if package else []
    if level - 1 > len(parts):
        return None
    return ".".join([*parts[: len(parts) - level + 1], *([name] if name else [])])


def _loads_by_other_means(tree: ast.Module) -> bool:
    """Whether a file loads code that its import statements do not name."""
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id="sys"), attr="path"):
                return True
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.alias(name=name) if name in UNREADABLE:
                return True
            case ast.Call(func=ast.Name(id="exec")):
                return True
            case ast.Call(func=func, args=args) if _called(func) in IMPORTERS:
                if not (args and isinstance(args[0], ast.Constant)):
                    return True
    return False


def _called(func: ast.expr) -> str:
    return func.id if isinstance(func, ast.Name) else func.attr if isinstance(func, ast.Attribute) else ""
