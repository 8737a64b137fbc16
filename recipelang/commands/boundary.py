"""Where the program meets the person: diagnostics on stderr, one exit code for each kind of end, no traceback.

0 done · 1 the recipe is wrong · 2 usage · 3 a step failed · 4 an `expect` was not met ·
5 work to do (only `plan --detailed-exitcode`) · 70 a bug in recipelang · 130 interrupted (and resumable)
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType
from typing import TextIO

import click

from recipelang.errors import Diagnostic, RecipeError, Refusal, render
from recipelang.trouble import machine_trouble

DONE, WRONG_RECIPE, USAGE, FAILED, NOT_MET, WORK_TO_DO, BUG, BROKEN_PIPE, INTERRUPTED = 0, 1, 2, 3, 4, 5, 70, 141, 130


class WrongUsage(RecipeError):
    """What the command line names cannot be used, and that is no fault of a recipe."""

    exit_code = USAGE


def coloured(stream: TextIO) -> bool:
    """Whether to colour: on a terminal that can, unless NO_COLOR says not to."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def say(line: str) -> None:
    """A line for the person; results go to stdout, everything else here."""
    click.echo(line, err=True)


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
    _ended_like_interrupted()
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
    except BrokenPipeError:
        # Whoever read our output has gone; nothing may be written any more, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except Exception as error:
        known = machine_trouble(error)
        if known is None:
            return _bug(error, command)
        print_diagnostics([known], lambda path: "")
        return FAILED


def _ended_like_interrupted() -> None:
    """Being told to end is like Ctrl-C: what is under way is saved, and nothing is left half written."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
        signal.signal(signal.SIGTERM, interrupt)


def _interrupted(command: str) -> int:
    say("\ninterrupted. What is finished is stored; the same command goes on from there:")
    say(f"  {command}")
    return INTERRUPTED


def _bug(error: Exception, command: str) -> int:
    """Say that this is our fault and keep the traceback in a file."""
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
