"""Which files a piece of code reads while it runs: those that are not modules are known only then."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

#: folders of the system, whose files a user does not change between runs
SYSTEM = ("/proc", "/sys", "/dev", "/etc", "/usr", "/lib", "/lib64", "/bin", "/opt", "/var")
COMPILED = {".pyc", ".so", ".pyd"}
_watching: list[set[str]] = []


@contextmanager
def files_read() -> Iterator[set[str]]:
    """The absolute paths of all files that are opened for reading inside the block."""
    _install()
    found: set[str] = set()
    _watching.append(found)
    try:
        yield found
    finally:
        _watching.remove(found)


def data_among(paths: Iterable[str], known: Iterable[Path]) -> tuple[Path, ...]:
    """The user's own files among these: not of the system, not installed, not `known`."""
    covered = {os.path.realpath(file) for file in known}
    return tuple(
        Path(path)
        for path in sorted(paths)
        if os.path.realpath(path) not in covered and Path(path).suffix not in COMPILED and _own(Path(path))
    )


def _own(path: Path) -> bool:
    prefixes = {*SYSTEM, sys.prefix, sys.base_prefix, *sysconfig.get_paths().values(), str(Path(__file__).parents[1])}
    cached = any(part.startswith(".") or part in ("site-packages", "dist-packages") for part in path.parts)
    return path.is_file() and not cached and not any(path.is_relative_to(prefix) for prefix in prefixes)


@cache
def _install() -> None:
    sys.addaudithook(_note)  # permanent: Python cannot remove an audit hook


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    if event != "open" or not _watching:
        return
    path, _, flags = arguments
    if isinstance(path, str | bytes | os.PathLike) and not (flags or 0) & (os.O_WRONLY | os.O_RDWR):
        try:
            _watching[-1].add(os.path.abspath(os.fsdecode(path)))
        except (OSError, ValueError):  # opening it reports the error
            return
