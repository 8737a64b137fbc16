"""Where the reading of a recipe stopped: the word that does not fit and its surroundings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from recipelang.errors import Span
from recipelang.lazy import difflib
from recipelang.syntax.grammar import CLOSING, OPENING, RESERVED, Token, scan, statement_ends
from recipelang.syntax.lalr import END, Unexpected

#: terminals of words that are never names
RESERVED_TYPES = frozenset(word.upper() for word in RESERVED)


class Mistake(NamedTuple):
    """What is wrong at a place: code, message, help and where. `blank` are the stretches to leave out when the rest is
    read, where they differ from the statement."""

    code: str
    message: str
    help: str
    span: Span
    blank: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Place:
    """Where the reading stopped.

    Attributes:
        text: the recipe.
        words: its words without comments, line ends included, and a last word `$END`.
        index: the word that does not fit.
        accepts: the terminals that would have been accepted.
    """

    text: str
    words: tuple[Token, ...]
    index: int
    accepts: frozenset[str]

    @property
    def word(self) -> Token:
        """The word that does not fit."""
        return self.words[self.index]

    @property
    def ends(self) -> bool:
        """Whether the statement ends here, by a line end, `;`, `}` or the end of the text."""
        return self.word.type in ("_END", "RBRACE", "$END")

    @cached_property
    def before(self) -> Token | None:
        """The word before, within the statement."""
        inside = [w for w in self.words[self.first : self.index] if w.text != "\n"]
        return inside[-1] if inside else None

    @property
    def after(self) -> Token:
        """The word after it; `$END` where there is none."""
        return self.words[min(self.index + 1, len(self.words) - 1)]

    @cached_property
    def first(self) -> int:
        """The index of the first word of the statement; a block that it carries belongs to it."""
        ends = set(statement_ends(self.words))
        first, stack = 0, []
        for index, word in enumerate(self.words[: self.index]):
            if word.type == "LBRACE":
                stack.append(first)
                first = index + 1
            elif word.type == "RBRACE":
                first = stack.pop() if stack else index + 1
            elif index in ends:
                first = index + 1
        return first

    @cached_property
    def open(self) -> tuple[Token, ...]:
        """The brackets that are open here, outermost first."""
        stack: list[Token] = []
        for word in self.words[: self.index]:
            if word.type in OPENING:
                stack.append(word)
            elif word.type in CLOSING and stack and stack[-1].type == CLOSING[word.type]:
                stack.pop()
        return tuple(stack)

    @property
    def inside(self) -> str:
        """The terminal of the innermost open bracket, or `""`."""
        return self.open[-1].type if self.open else ""

    @cached_property
    def clause(self) -> str:
        """The clause word that this place belongs to, or `""` among the operands and in a setting."""
        depth, clause = 0, ""
        for word in self.words[self.first : self.index]:
            depth += (word.type in OPENING) - (word.type in CLOSING)
            if not depth and word.type in RESERVED_TYPES - {"LET", "AND", "OR"}:
                clause = word.text
        return clause

    @property
    def statement(self) -> Sequence[Token]:
        """The words of the statement up to here."""
        return self.words[self.first : self.index]

    def run(self, characters: str, at: int) -> Span:
        """The unbroken run of characters (the inside of a character class) around an offset."""
        line_start = self.text.rfind("\n", 0, at) + 1
        matches = re.finditer(f"[{characters}]+", self.text[line_start:].split("\n", 1)[0])
        start, end = next(
            ((m.start(), m.end()) for m in matches if m.start() <= at - line_start < m.end()),
            (at - line_start, at - line_start + 1),
        )
        line = self.text.count("\n", 0, at) + 1
        return Span(line_start + start, line_start + end, line, start + 1, line, end + 1)

    def broken(self) -> tuple[int, int]:
        """Offsets of what cannot be read: the statement without its block."""
        blocks = [w.end for w in self.statement if w.type == "RBRACE"]
        start = max(blocks, default=self.words[self.first].start)
        stops = set(statement_ends(self.words))
        stop = next(
            word
            for index, word in enumerate(self.words[self.index :], self.index)
            if index in stops or word.type in ("LBRACE", "RBRACE", "$END")
        )
        return start, stop.start

    def line(self) -> tuple[int, int]:
        """Offsets of what cannot be read where the rest of the line after the place cannot be trusted."""
        end = self.text.find("\n", self.word.start)
        return self.broken()[0], end if end >= 0 else len(self.text)


def place_of(text: str, error: Unexpected) -> Place:
    """The place of a parser error."""
    lines = text.split("\n")
    end = Token(END, "", len(text), len(text), len(lines), len(lines[-1]) + 1)
    words = (*(t for t in scan(text) if t.type != "COMMENT"), end)
    index = next(i for i, w in enumerate(words) if w.end > error.word.start or w.type == END)
    return Place(text, words, index, error.accepts)


def resembles(word: str, candidates: Iterable[str]) -> str | None:
    """The candidate that `word` is a misspelling of: stricter than `errors.nearest`, since short words are similar."""
    names = list(candidates)
    swapped = next((name for name in names if sorted(name) == sorted(word.lower())), None)
    if swapped:
        return swapped
    found = difflib.get_close_matches(word.lower(), names, n=3, cutoff=0.6)
    for candidate in found:
        ratio = difflib.SequenceMatcher(None, word.lower(), candidate).ratio()
        if ratio >= 0.75 or len(candidate) == len(word):
            return candidate
    return None


def unfinished(word: Token) -> bool:
    """Whether something must follow this word."""
    return word.type in RESERVED_TYPES or word.type in ("COMMA", "COMPARE", "PLUS", "STAR", "EQUAL", "DOT")
