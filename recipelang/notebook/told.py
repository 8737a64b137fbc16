"""How a cell fails: with the messages of the command line, carets included, and no traceback."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from recipelang.errors import Diagnostic, RecipeError, Refusal, render
from recipelang.plugins import raised_by_one
from recipelang.trouble import machine_trouble

INTERRUPTED = "interrupted. What is finished is stored; the same cell continues from there"


class CellFailed(Exception):
    """A cell whose recipe is wrong, or whose run failed; a notebook shows its lines where a traceback would be.

    Attributes:
        lines: what is shown.
    """

    def __init__(self, lines: Iterable[str]) -> None:
        self.lines = list(lines)
        super().__init__("\n".join(self.lines))

    def _render_traceback_(self) -> list[str]:
        """IPython's own hook for exceptions that say how they are shown."""
        return self.lines


def failed(diagnostics: Iterable[Diagnostic], texts: Callable[[str], str]) -> CellFailed:
    """The failure of diagnostics, each with its line.

    Args:
        diagnostics: what is wrong, in order.
        texts: gives the text of the file that a diagnostic's path names.
    """
    return CellFailed(f"{render(found, texts(found.path), colour=True)}\n" for found in diagnostics)


@contextmanager
def telling(texts: Callable[[str], str]) -> Iterator[None]:
    """Turn everything that a user or the machine can cause into a failed cell; a bug keeps its traceback.

    Args:
        texts: gives the text of the file that a diagnostic's path names.

    Raises:
        CellFailed: the work in the block was refused, or interrupted.
    """
    try:
        yield
    except RecipeError as error:
        raise failed(error.diagnostics, texts) from None
    except Refusal as refusal:
        raise failed([refusal.at(None)], texts) from None
    except KeyboardInterrupt:
        raise CellFailed([INTERRUPTED]) from None
    except CellFailed:
        raise
    except Exception as error:
        theirs = raised_by_one(error)
        known = machine_trouble(error) or (theirs.at(None) if theirs else None)
        if known is None:
            raise
        raise failed([known], texts) from None
