"""Where mistakes are noted while a recipe is read, so that all of those in a file are reported at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from recipelang.errors import Diagnostic, RecipeError, Span
from recipelang.meaning.mentions import Mentions


class Refuse(Protocol):
    """Notes a mistake and lets the reading continue."""

    def __call__(self, code: str, message: str, span: Span | None, help: str = "") -> None:
        """Note it; the arguments are those of `Diagnostic`."""


MOST = 100  # mistakes, and warnings
UNBOUND = "RCP0206"


@dataclass
class Notes:
    """The diagnostics found so far; each mistake at a place is noted once.

    Attributes:
        path: the file being read; goes into every note.
        mentions: the names that are given and used.
    """

    path: str = ""
    errors: list[Diagnostic] = field(default_factory=list)
    warnings: list[Diagnostic] = field(default_factory=list)
    mentions: Mentions = field(default_factory=Mentions)

    def refuse(self, code: str, message: str, span: Span | None, help: str = "") -> None:
        """Note a mistake once, however often the place is read (a sweep reads its body for every value).

        Raises:
            RecipeError: there are too many to be useful, and a text full of mistakes must not take hours to check.
        """
        if span and any(d.code == UNBOUND and self._inside(d, span) for d in self.errors):
            return  # a value that is not known cannot be wrong
        found = Diagnostic(code, message, span, help, "" if span and span.typed else self.path)
        if not any(
            (d.code, d.span, d.path) == (code, span, found.path) and (span or d.message == message) for d in self.errors
        ):
            self.errors.append(found)
        if len(self.errors) > MOST:
            raise RecipeError(self.errors)

    def _inside(self, found: Diagnostic, span: Span) -> bool:
        """Whether a diagnostic of this file is inside `span`."""
        place = found.span
        return found.path == self.path and place is not None and span.start <= place.start and place.end <= span.end

    def warn(self, code: str, message: str, span: Span | None, help: str = "") -> None:
        """Note something odd that does not stop the run."""
        found = Diagnostic(code, message, span, help, self.path, "warning")
        if len(self.warnings) < MOST and found not in self.warnings:
            self.warnings.append(found)
