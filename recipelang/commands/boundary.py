"""Where the program meets the user: diagnostics on stderr, one exit code for each kind of end, no traceback.

0 done · 1 the recipe is wrong · 2 usage · 3 a step failed · 4 an `expect` was not met, or a `--fail-if` holds ·
5 work to do (`plan --detailed-exitcode`, `migrate`) · 70 a bug in recipelang · 130 interrupted (and resumable) ·
141 the output was closed by its reader (all files are written)
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

import click

from recipelang.errors import Diagnostic, RecipeError, Refusal, render
from recipelang.plugins import raised_by_one
from recipelang.trouble import machine_trouble, tell

DONE, WRONG_RECIPE, USAGE, FAILED, NOT_MET, WORK_TO_DO, BUG, BROKEN_PIPE, INTERRUPTED = 0, 1, 2, 3, 4, 5, 70, 141, 130


#: seconds until an interruption that was lost comes again
AGAIN_S = 0.05


class WrongUsage(RecipeError):
    """Something that the command line names cannot be used; the recipe is not at fault."""

    exit_code = USAGE


class ReaderGone(Exception):
    """The reader of our output has closed it: a `BrokenPipeError` that click does not treat as a failure."""


def coloured(stream: TextIO) -> bool:
    """Whether to colour: on a terminal that can, unless NO_COLOR says not to."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def say(line: str) -> None:
    """A line for the user; results go to stdout, everything else here."""
    tell(line, sys.stderr)


def print_diagnostics(diagnostics: Iterable[Diagnostic], texts: Callable[[str], str]) -> None:
    """Print diagnostics on stderr, each with its line.

    Args:
        diagnostics: what to print, in order.
        texts: gives the text of the file that a diagnostic's path names.
    """
    for diagnostic in diagnostics:
        say(render(diagnostic, texts(diagnostic.path), colour=coloured(sys.stderr)) + "\n")


def guarded(work: Callable[[], int | None], command: str) -> int:
    """Do the work and turn every way in which it can end into an exit code and a message.

    Args:
        work: the command; its result is an exit code, None means 0.
        command: the command line as typed, to say how to resume.
    """
    _open_streams()
    _ended_like_interrupted(command)
    try:
        return _told(work, command)
    except (BrokenPipeError, ReaderGone):
        return _unread()


def _told(work: Callable[[], int | None], command: str) -> int:
    """Do the work and say how it ended; the exit code."""
    try:
        code = work() or DONE
        sys.stdout.flush()
        return code
    except click.exceptions.Abort:
        return _interrupted(command)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except RecipeError as error:
        text = error.text
        print_diagnostics(error.diagnostics, lambda path: text)
        return error.exit_code
    except Refusal as error:
        print_diagnostics([error.at(None)], lambda path: "")
        return FAILED
    except KeyboardInterrupt:
        return _interrupted(command)
    except (BrokenPipeError, ReaderGone):
        raise
    except Exception as error:
        theirs = raised_by_one(error)
        known = machine_trouble(error) or (theirs.at(None) if theirs else None)
        if known is None:
            return _bug(error, command)
        print_diagnostics([known], lambda path: "")
        return FAILED


def _unread() -> int:
    """The reader of our output has closed it; nothing may be written any more, not even at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(nowhere, stream.fileno())
    return BROKEN_PIPE


def _open_streams() -> None:
    """Open closed streams to nowhere, before a file takes their place; print a letter that a terminal lacks as `?`."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 (open to the end)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def _ended_like_interrupted(command: str) -> None:
    """Treat SIGTERM like Ctrl-C: what is under way is saved, and nothing is left half written.

    While a library is imported, the process ends at once: what an exception does that is raised within the beginning of
    a library is up to the library, and there is nothing under way that could be saved.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        if _importing(frame):
            with contextlib.suppress(OSError):
                os.write(2, f"\n{_continues(command)}\n".encode())
            os._exit(INTERRUPTED)
        raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
        signal.signal(signal.SIGTERM, interrupt)
        sys.unraisablehook = partial(_unraisable, sys.unraisablehook)


def last_moments() -> None:
    """All is done and said: whoever ends the process from now on ends it without another word."""
    with contextlib.suppress(ValueError):  # in another thread, there is nothing to set
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)


def _importing(frame: FrameType | None) -> bool:
    """Whether a module is being imported, by the code at work or by what called it."""
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False


def _unraisable(before: Callable[[Any], Any], found: Any) -> None:
    """Interrupt once more what was interrupted where no exception can be raised, as where an object is removed."""
    if not issubclass(found.exc_type, KeyboardInterrupt):
        before(found)
        return
    again = threading.Timer(AGAIN_S, os.kill, (os.getpid(), signal.SIGTERM))
    again.daemon = True
    again.start()


def _continues(command: str) -> str:
    return f"interrupted. What is finished is stored; the same command continues from there:\n  {command}"


def _interrupted(command: str) -> int:
    say(f"\n{_continues(command)}")
    return INTERRUPTED


def _bug(error: Exception, command: str) -> int:
    """Report a bug of ours and keep the traceback in a file."""
    import tempfile  # only a bug needs these two
    import traceback

    from recipelang import __version__

    last = traceback.format_exception_only(error)[-1].strip()
    say(f"error: this is a bug in recipelang {__version__}: {last}")
    try:
        handle, name = tempfile.mkstemp(prefix="recipe-bug-", suffix=".txt")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(f"{command}\n\n{''.join(traceback.format_exception(error))}")
        say(f"The traceback is in {Path(name)}; please report it together with the recipe.")
    except OSError:
        say("The traceback could not be written anywhere; please report the recipe and this line.")
    return BUG
