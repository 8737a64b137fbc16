"""The grammar, loaded once: the LALR parser of `grammar/recipe.lark`, and a scanner made of the same terminals.

Building the parser takes a few tenths of a second, so its tables are stored beside the grammar as JSON (no pickle:
reading them runs no code); `python -m recipelang.syntax.grammar` writes them again, and a test compares them.

Lexing does not depend on the parser's state, so the parser, the formatter and the explanation of mistakes all
see the same words; the scanner never fails, because what matches no terminal becomes a STRAY token.
"""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, ClassVar, NamedTuple

import lark
from lark import Lark
from lark import Token as LarkToken

from recipelang import paths
from recipelang.errors import Span

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


class TooDeep(Exception):
    """Brackets are nested deeper than DEEPEST; `offset` is where."""

    def __init__(self, offset: int) -> None:
        self.offset = offset
        super().__init__(offset)


class LineEnds:
    """Drops line ends that do not end a statement: in `()` and `[]`, and before a line that continues the statement."""

    always_accept: ClassVar[tuple[str, ...]] = ()

    def process(self, stream: Iterator[LarkToken]) -> Iterator[LarkToken]:
        """The tokens that the grammar sees.

        Raises:
            TooDeep: brackets are nested too deep.
        """
        open_: list[str] = []
        end: LarkToken | None = None  # a line end that is held back until the next word is known
        for token in stream:
            if token == "\n" and token.type == "_END":
                end = token if not open_ or open_[-1] == "LBRACE" else None
                continue
            if end is not None and token.type not in CONTINUING:
                yield end
            end = None
            if token.type in OPENING:
                open_.append(token.type)
                if len(open_) > DEEPEST:
                    raise TooDeep(token.start_pos or 0)
            elif token.type in CLOSING and open_:
                open_.pop()
            yield token
        if end is not None:
            yield end


OPTIONS: dict[str, Any] = {
    "parser": "lalr",
    "lexer": "basic",
    "propagate_positions": True,
    "maybe_placeholders": False,
    "start": "recipe",
}


@cache
def parser() -> Lark:
    """The LALR(1) parser of the language: from the stored tables, or from the grammar where they are out of date."""
    stored = paths.tables().read_text(encoding="utf-8") if paths.tables().is_file() else '{"of": []}'
    tables = json.loads(stored, object_hook=_with_numbers)
    if tables["of"] == _identity():
        return Lark._load_from_dict(tables["data"], tables["memo"], postlex=LineEnds())
    return build()


def build() -> Lark:
    """The parser built from the grammar, which takes a few tenths of a second."""
    return Lark(paths.grammar().read_text(encoding="utf-8"), postlex=LineEnds(), **OPTIONS)


def serialized() -> str:
    """What `grammar/tables.json` must hold: the LALR tables as plain JSON, and what they were made of."""
    saved = io.BytesIO()
    build().save(saved, exclude_options=("postlex",))
    return json.dumps({"of": _identity(), **pickle.loads(saved.getvalue())}, separators=(",", ":"))


def _identity() -> list[str]:
    """The grammar and the version of lark; tables of others are not used."""
    return [lark.__version__, hashlib.sha256(paths.grammar().read_bytes()).hexdigest()]


def _with_numbers(table: dict[str, Any]) -> dict[str | int, Any]:
    """A JSON object whose keys are numbers again where they were numbers."""
    return {int(key) if key.isdigit() else key: value for key, value in table.items()}


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


@cache
def _scanner() -> re.Pattern[str]:
    """All terminals as one expression, in the lexer's order, and two forms of what matches none."""
    terminals = sorted(
        parser().terminals, key=lambda t: (-t.priority, -t.pattern.max_width, -len(t.pattern.value), t.name)
    )
    parts = [f"(?P<{t.name}>{t.pattern.to_regexp()})" for t in terminals]
    return re.compile("|".join([*parts, r'(?P<STRAY>"[^"\n]*|[0-9][\w.:]*|.)']), re.DOTALL)


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


if __name__ == "__main__":  # python -m recipelang.syntax.grammar: after every change of the grammar
    paths.tables().write_text(serialized(), encoding="utf-8")
