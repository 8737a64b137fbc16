"""What the machine refuses (space, permission, memory, a terminal), handled in one way wherever it is noticed."""

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
    """Print a line for the person. A full disk behind it or a terminal that is lost keeps nobody from working.

    Raises:
        BrokenPipeError: the reader went away on purpose.
    """
    try:
        print(line, file=stream, flush=True)
    except BrokenPipeError:
        raise
    except OSError:
        pass


def machine_trouble(error: BaseException, span: Span | None = None, path: str = "") -> Diagnostic | None:
    """The diagnostic of an error that is the machine's; None where it is not: a bug, or a reader that went away.

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
        help = "use a smaller `batch=`, close other programs, or take a machine with more memory"
        return Diagnostic("RCP1208", "the machine is out of memory", help=help)
    if not isinstance(error, OSError) or error.errno is None or isinstance(error, BrokenPipeError):
        return None
    at = f" at `{shortened(os.fsdecode(error.filename), 200)}`" if isinstance(error.filename, str | bytes) else ""
    why = os.strerror(error.errno)
    if error.errno in _FULL:
        help = "free space, `recipe gc` frees what no run needs, or choose another place with --out and --store"
        return Diagnostic("RCP1206", f"the disk is full{at}", help=f"{help}; then the same command goes on")
    if error.errno in _FORBIDDEN:
        help = "choose a place that you may write to with --out and --store, or give yourself the right"
        return Diagnostic("RCP1207", f"the system does not allow access{at} ({why})", help=help)
    return Diagnostic("RCP1209", f"the system refused{at}: {why}", help="mend that, then the same command goes on")
