"""Where a recipe gives names and where it uses them, as they are found while it is read: for editors."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from recipelang.errors import Span


class Mention(NamedTuple):
    """A word in a file, that of a name."""

    path: str
    span: Span


@dataclass
class Mentions:
    """The names of a recipe. A block is read once for each of its variants, and each word in it is noted once.

    Attributes:
        given: each word that gives a name → its sort: `parameter`, `state`, `model`, `data` or `variant`.
        uses: each word that uses a name → the word that gives it.
        used: names of states, models and data sets that something refers to.
        variants: full name of a variant → the word that gives it.
    """

    given: dict[Mention, str] = field(default_factory=dict)
    uses: dict[Mention, Mention] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    variants: dict[str, Span] = field(default_factory=dict)
    _files: dict[Span, str] = field(default_factory=dict)

    def give(self, sort: str, path: str, span: Span) -> None:
        """Note a word that gives a name."""
        self.given.setdefault(Mention(path, span), sort)
        self._files.setdefault(span, path)

    def use(self, path: str, span: Span, given: Span, file: str | None = None) -> None:
        """Note a word that uses a name.

        Args:
            path, span: the word.
            given: the word that gives the name.
            file: the file of that word; None where the name may be from any.
        """
        self.uses[Mention(path, span)] = Mention(self._files.get(given, path) if file is None else file, given)
