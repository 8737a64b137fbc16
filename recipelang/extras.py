"""Libraries that the extras of this package install: which are here, and in which version, without importing them."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from recipelang.errors import Refusal


def absent(libraries: Sequence[str]) -> list[str]:
    """Those of these libraries that are not installed; none is imported.

    A folder of their name in the current folder, such as the `wandb` that wandb writes, is no library.
    """
    return [name for name in libraries if not _installed(name)]


def _installed(library: str) -> bool:
    found = importlib.util.find_spec(library)
    return found is not None and found.origin is not None


def require_libraries(what: str, libraries: Sequence[str], extra: str) -> None:
    """Refuse where a library is not installed.

    Args:
        what: what needs them, as a recipe writes it: `export onnx`.
        libraries: their names as they are imported.
        extra: the extra of this package that installs them.

    Raises:
        Refusal: RCP1027.
    """
    if lacking := absent(libraries):
        listed = " and ".join(filter(None, (", ".join(lacking[:-1]), lacking[-1])))
        verb = "they are" if len(lacking) > 1 else "it is"
        raise Refusal("RCP1027", f"`{what}` needs {listed}, and {verb} not installed", installing(extra))


def version_of(library: str) -> str:
    """The version of an installed library; "" where it does not say."""
    try:
        return version(library)
    except PackageNotFoundError:  # an own build, or another name as a package
        return ""


def installing(extra: str) -> str:
    """The command that installs an extra of this package."""
    return f'`pip install "recipelang[{extra}]"`'


@functools.cache
def put_there(folder: Path) -> frozenset[str]:
    """The packages and modules of a folder that pip put there, as in `pip install --target FOLDER`: what the records of
    installations beside them list. Files that a user wrote into the same folder are not listed there."""
    found: set[str] = set()
    for record in folder.glob("*.dist-info/RECORD"):
        with contextlib.suppress(OSError, UnicodeDecodeError):
            tops = {
                line.partition(",")[0].partition("/")[0] for line in record.read_text(encoding="utf-8").splitlines()
            }
            found |= {top.removesuffix(".py") for top in tops}
    return frozenset(found)
