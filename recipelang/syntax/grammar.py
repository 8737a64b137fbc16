"""The words of the language: which there are, where a statement ends, and the scanner made of the grammar's terminals.

Lexing does not depend on the parser's state, so the parser, the formatter and the explanation of mistakes all
see the same words; the scanner never fails, because what matches no terminal becomes a STRAY token.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import NamedTuple

from recipelang.errors import Span
from recipelang.syntax.tables import tables

#: words that begin a clause, in the order of the language's manual
CLAUSES = ("by", "with", "from", "to", "until", "while", "over", "for", "in", "except", "on", "as")
#: words that are never names
RESERVED = frozenset((*CLAUSES, "let", "and", "or"))
#: a line that begins with one of these terminals continues the statement above
CONTINUING = frozenset(word.upper() for word in (*CLAUSES, "and", "or")) | {"PLUS", "STAR", "LBRACE"}
OPENING = {"LPAR": "RPAR", "LSQB": "RSQB", "LBRACE": "RBRACE"}
CLOSING = {closing: opening for opening, closing in OPENING.items()}
#: brackets may be nested this deep; far more than a recipe needs, far less than Python's stack
DEEPEST = 32


class Token(NamedTuple):
    """One word of the text: the name of its terminal, the text itself, offsets and the place of its start."""

    type: str
    text: str
    start: int
    end: int
    line: int
    column: int

    @property
    def span(self) -> Span:
        """Its place; no token extends over a line end."""
        return Span(self.start, self.end, self.line, self.column, self.line, self.column + self.end - self.start)

    def touches(self, after: Token) -> bool:
        """Whether there is nothing between this word and the one after it."""
        return self.end == after.start


#: what matches no terminal: a string that is not closed, a number with something attached; else a single character
STRAY = r'"[^"\n]*|[0-9][\w.:]*'


@cache
def _scanner() -> re.Pattern[str]:
    """All terminals as one expression, in the order in which they are tried, and the forms of what matches none."""
    parts = [f"(?P<{name}>{expression})" for name, expression in tables().terminals.items()]
    return re.compile("|".join([*parts, rf"(?P<STRAY>{STRAY}|.)"]), re.DOTALL)


def scan(text: str) -> Iterator[Token]:
    """Every word of a text, comments and line ends included, blanks left out; never fails."""
    line, line_start = 1, 0
    for match in _scanner().finditer(text):
        kind = match.lastgroup or "STRAY"
        start, end = match.span()
        if kind not in ("BLANK", "RETURN"):
            yield Token(kind, match[0], start, end, line, start - line_start + 1)
        if match[0] == "\n":
            line, line_start = line + 1, end


def statement_ends(tokens: Sequence[Token]) -> Iterator[int]:
    """The indexes of those `;` and line ends that end a statement; comments must be left out of `tokens`."""
    depth, held = 0, -1
    for index, token in enumerate(tokens):
        if token.text == "\n":
            held = index if not depth else -1
            continue
        if held >= 0 and token.type not in CONTINUING:
            yield held
        held = -1
        if token.type in ("LPAR", "LSQB"):
            depth += 1
        elif token.type in ("RPAR", "RSQB"):
            depth = max(0, depth - 1)
        elif token.type in ("LBRACE", "RBRACE", "_END"):
            depth = 0
            if token.type == "_END":
                yield index
    if held >= 0:
        yield held
