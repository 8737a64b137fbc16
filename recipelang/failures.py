"""How a call from Python fails: with one exception, which carries every diagnostic and prints each with its line."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from recipelang.errors import Diagnostic, RecipeError, Refusal, Refused, StepFailed, render
from recipelang.plugins import raised_by_one
from recipelang.trouble import machine_trouble
from recipelang.voiced import in_python


def placed(error: RecipeError, texts: Callable[[str], str]) -> RecipeError:
    """The error, which from now on prints with the lines that its diagnostics point at.

    Args:
        texts: gives the text of the file that a diagnostic's path names.
    """
    if not error.told:  # whoever told it first knew its text
        error.diagnostics = tuple(map(in_python, error.diagnostics))
        error.told = told(error.diagnostics, texts)
    return error


def told(diagnostics: Iterable[Diagnostic], texts: Callable[[str], str]) -> str:
    """Diagnostics as text, one below the other; the first on a line of its own, below the name of the exception."""
    return "\n" + "\n\n".join(render(one, texts(one.path)) for one in diagnostics)


@contextmanager
def one_exception(texts: Callable[[str], str] = lambda path: "") -> Iterator[None]:
    """Turn everything that a caller or the machine can cause into a `RecipeError`; a bug keeps its own exception.

    Raises:
        RecipeError: what the block was refused.
    """
    try:
        yield
    except RecipeError as error:
        raise placed(error, texts) from error.__cause__
    except Refusal as refusal:
        if isinstance(refusal, Refused):
            raise
        raise placed(Refused(refusal), texts) from refusal.__cause__
    except Exception as error:
        theirs = raised_by_one(error)
        known = machine_trouble(error) or (theirs.at(None) if theirs else None)
        if known is None:
            raise
        raise placed(StepFailed([known]), texts) from error
