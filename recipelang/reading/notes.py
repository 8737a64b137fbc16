"""Where mistakes are noted while a recipe is read, so that all of a file come out at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from recipelang.errors import Diagnostic, RecipeError, Span


class Refuse(Protocol):
    """Notes a mistake and lets the reading go on."""

    def __call__(self, code: str, message: str, span: Span | None, help: str = "") -> None:
        """Note it; the arguments are those of `Diagnostic`."""


MOST = 100  # mistakes, and warnings
UNBOUND = "RCP0206"
#: what may be wrong only because another statement could not be read: names it gives, blocks it opens, order
OF_OTHERS = ("RCP0205", UNBOUND, "RCP0207", "RCP0208", "RCP0209", "RCP0213", "RCP0407", "RCP05")
#: of those, what a statement says by itself: the split that it chooses by or learns from
OF_ITSELF = ("RCP0509", "RCP0513")


def alone(code: str) -> bool:
    """Whether a mistake of this code lies in its own statement, whatever stands around it."""
    return code in OF_ITSELF or not code.startswith(OF_OTHERS)


@dataclass
class Notes:
    """The diagnostics found so far; one place of the text is blamed once for one thing.

    Attributes:
        path: the file being read; goes into every note.
    """

    path: str = ""
    errors: list[Diagnostic] = field(default_factory=list)
    warnings: list[Diagnostic] = field(default_factory=list)

    def refuse(self, code: str, message: str, span: Span | None, help: str = "") -> None:
        """Note a mistake once, however often the place is read (a sweep reads its body for every value).

        Raises:
            RecipeError: that was one too many: nobody reads more, and a text of nothing but mistakes takes no hours.
        """
        if span and any(d.code == UNBOUND and self._inside(d, span) for d in self.errors):
            return  # a value that is not known cannot be wrong
        if not any(
            (d.code, d.span, d.path) == (code, span, self.path) and (span or d.message == message) for d in self.errors
        ):
            self.errors.append(Diagnostic(code, message, span, help, self.path))
        if len(self.errors) > MOST:
            raise RecipeError(self.errors)

    def _inside(self, found: Diagnostic, span: Span) -> bool:
        """Whether a diagnostic of this file stands inside `span`."""
        place = found.span
        return found.path == self.path and place is not None and span.start <= place.start and place.end <= span.end

    def warn(self, code: str, message: str, span: Span | None, help: str = "") -> None:
        """Note something that is odd but stops nothing."""
        found = Diagnostic(code, message, span, help, self.path, "warning")
        if len(self.warnings) < MOST and found not in self.warnings:
            self.warnings.append(found)
