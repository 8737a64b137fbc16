"""What the machine refuses (space, permission, memory, a terminal), handled in one way wherever it occurs."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from typing import TextIO

from recipelang.errors import Diagnostic, Span
from recipelang.files import shortened

_FULL = {errno.ENOSPC, errno.EDQUOT}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}


def tell(line: str, stream: TextIO) -> None:
    """Print a line for the user. Output to a full disk or a lost terminal does not stop the work.

    Raises:
        BrokenPipeError: the reader closed the pipe.
    """
    try:
        print(line, file=stream, flush=True)
    except BrokenPipeError:
        raise
    except OSError:
        pass


def machine_trouble(error: BaseException, span: Span | None = None, path: str = "") -> Diagnostic | None:
    """The diagnostic of an error that is the machine's; None where it is not: a bug, or a closed pipe.

    Args:
        error: what was raised.
        span, path: the step at work, where there is one.
    """
    found = _refused(error)
    return found and replace(found, span=span, path=path)


def _out_of_memory(error: BaseException) -> bool:
    """Python's own, and those of torch, which is not imported here: on a CPU it raises a plain RuntimeError."""
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return named or (isinstance(error, RuntimeError) and "can't allocate memory" in str(error))


def _refused(error: BaseException) -> Diagnostic | None:
    if _out_of_memory(error):
        help = "use a smaller `batch=`, close other programs, or use a machine with more memory"
        return Diagnostic("RCP1208", "the machine is out of memory", help=help)
    if isinstance(error, RuntimeError) and getattr(error.__context__, "errno", None) == errno.ELOOP:
        error = error.__context__  # type: ignore[assignment]  # `Path.resolve` puts its own words over the system's
    if not isinstance(error, OSError) or error.errno is None or isinstance(error, BrokenPipeError):
        return None
    at = f" at `{shortened(os.fsdecode(error.filename), 200)}`" if isinstance(error.filename, str | bytes) else ""
    why = os.strerror(error.errno)
    if error.errno in _FULL:
        help = "free space (`recipe gc` frees what no run needs), or choose another place with --out and --store"
        return Diagnostic("RCP1206", f"the disk is full{at}", help=f"{help}; the same command then continues")
    if error.errno in _FORBIDDEN:
        help = "choose a folder that you may write to with --out and --store, or change its permissions"
        return Diagnostic("RCP1207", f"the system does not allow access{at} ({why})", help=help)
    return Diagnostic("RCP1209", f"the system refused{at}: {why}", help="fix that; the same command then continues")
