"""Which of the libraries of a runtime are installed, without importing them."""

from __future__ import annotations

from collections.abc import Sequence

from recipelang.extras import absent, installing, require_libraries, version_of
from recipelang.kinds import Finding

__all__ = ["ONNX", "libraries_found", "programs_in", "require_libraries", "version_of"]


def programs_in(library: str) -> tuple[str, ...]:
    """What writes and checks ONNX programs, and the library that executes them."""
    return "onnx", "onnxscript", library


#: What `export onnx` needs: its programs are executed before they are written.
ONNX = programs_in("onnxruntime")


def libraries_found(what: str, libraries: Sequence[str], extra: str, use: str) -> Finding:
    """The row of `recipe doctor` for an extra.

    Args:
        what: name of the row.
        libraries: those that it needs; the version of the last one is shown.
        extra: the extra of this package that installs them.
        use: what they are for.
    """
    if lacking := absent(libraries):
        return Finding(what, f"without {', '.join(lacking)}", "limited", f"{use} need it: {installing(extra)}")
    return Finding(what, version_of(libraries[-1]), "ok")
