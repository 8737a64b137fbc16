"""Which of the libraries of an extra are installed, without importing them."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from recipelang.errors import Refusal
from recipelang.kinds import Finding


def programs_in(library: str) -> tuple[str, ...]:
    """What writes and checks ONNX programs, and the library that executes them."""
    return "onnx", "onnxscript", library


#: What `export onnx` needs: its programs are executed before they are written.
ONNX = programs_in("onnxruntime")


def absent(libraries: Sequence[str]) -> list[str]:
    """Those of these libraries that are not installed; none is imported."""
    return [name for name in libraries if importlib.util.find_spec(name) is None]


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
        raise Refusal("RCP1027", f"`{what}` needs {listed}, and {verb} not installed", _install(extra))


def libraries_found(what: str, libraries: Sequence[str], extra: str, use: str) -> Finding:
    """The row of `recipe doctor` for an extra.

    Args:
        what: name of the row.
        libraries: those that it needs; the version of the last one is shown.
        extra: the extra of this package that installs them.
        use: what they are for.
    """
    if lacking := absent(libraries):
        return Finding(what, f"without {', '.join(lacking)}", "limited", f"{use} need it: {_install(extra)}")
    return Finding(what, version_of(libraries[-1]), "ok")


def version_of(library: str) -> str:
    """The version of an installed library; "" where it does not say."""
    try:
        return version(library)
    except PackageNotFoundError:  # an own build, or another name as a package
        return ""


def _install(extra: str) -> str:
    return f'`pip install "recipelang[{extra}]"`'
