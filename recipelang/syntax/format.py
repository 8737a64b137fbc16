"""The formatter: one canonical layout; comments and meaning are preserved.

    text ──scan──▶ words ──_rows──▶ rows ──_lines──▶ lines ──laid_out──▶ text

Each statement has a line of its own; two spaces indent a block or a line that continues a statement. Where the author
broke a statement it stays broken, where two neighbouring lines were aligned they stay aligned, and the comments at
the ends of the lines of a paragraph are in one column, two spaces after the longest of these lines. There are no
options.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile

from recipelang import units
from recipelang.errors import Refusal
from recipelang.syntax.alignment import Cell, Line, laid_out
from recipelang.syntax.grammar import CLOSING, OPENING, Token, scan, statement_ends
from recipelang.syntax.parse import parse

INDENT = 2


def format(text: str, path: str = "") -> str:
    """The recipe in canonical layout: same tree, same comments, and formatting it again changes nothing.

    Args:
        text: a recipe without syntax errors.
        path: where it came from, for messages.

    Raises:
        RecipeError: the text is not a recipe.
        Refusal: RCP0119, the result would have another meaning (a bug in the formatter; nothing is lost).
    """
    parse(text, path)
    tokens = list(scan(text.removeprefix("\ufeff")))
    starts = _starts(tokens)
    lines = _lines(_rows(tokens, starts, _open_blocks(tokens)), starts)
    _drop_blanks(lines)
    formatted = laid_out(lines)
    after = list(scan(formatted))
    if _said(tokens) != _said(after) or _comments(tokens) != _comments(after):
        raise Refusal(
            "RCP0119",
            f"formatting would change the meaning of `{path or 'this recipe'}`, so it is left as it is",
            "this is a bug in recipelang; please report it with the recipe",
        )
    return formatted


def _comments(tokens: Sequence[Token]) -> list[str]:
    return [token.text.rstrip() for token in tokens if token.type == "COMMENT"]


def _said(tokens: Sequence[Token]) -> list[str]:
    """The words that the tree is made of: two texts with the same words have the same tree.

    Left out is what the grammar ignores: layout, comments, empty statements, commas before a closing bracket.
    """
    words = [token for token in tokens if token.type != "COMMENT"]
    ends = set(statement_ends(words))
    said: list[str] = []
    for index, word in enumerate(words):
        if word.type in CLOSING and said and said[-1] in (",", ";"):
            said.pop()
        if word.type == "NUMBER":
            said.append(units.spelt(word.text))
        elif word.type != "_END":
            said.append(word.text)
        elif index in ends and said and said[-1] not in (";", "{"):
            said.append(";")
    return said[:-1] if said[-1:] == [";"] else said


# ── words → rows: where lines break ─────────────────────────────────────────────────────────────────────


@dataclass
class OutputLine:
    """The words of a line of the result, its comment, and whether a blank line comes before it."""

    words: list[Token]
    comment: Token | None
    blank: bool


def _rows(tokens: Sequence[Token], starts: set[int], open_blocks: set[int]) -> list[OutputLine]:
    """The words in rows: one statement per row, broken where the author broke it."""
    rows: list[OutputLine] = []
    above: Token | None = None
    for index, token in enumerate(tokens):
        if token.text == "\n":
            continue
        blank = above is not None and token.line > above.line + 1
        if token.type == "COMMENT":
            if rows and rows[-1].words and rows[-1].words[-1].line == token.line:
                rows[-1].comment = token
            else:
                rows.append(OutputLine([], token, blank))
        elif not (token.text == ";" or _is_spare(token, tokens[index + 1 : index + 2])):
            if not rows or rows[-1].comment or _breaks(rows[-1].words[-1], token, starts, open_blocks):
                rows.append(OutputLine([], None, blank))
            rows[-1].words.append(token)
        above = token
    return rows


def _is_spare(token: Token, after: Sequence[Token]) -> bool:
    """Whether it is a comma before a closing bracket on the same line."""
    return token.type == "COMMA" and bool(after) and after[0].type in CLOSING


def _breaks(before: Token, token: Token, starts: set[int], open_blocks: set[int]) -> bool:
    """Whether there is a line break between two words."""
    if token.type == "RBRACE":
        return token.start in open_blocks
    if before.type == "LBRACE":
        return before.start in open_blocks
    if token.type == "LBRACE":
        return False
    return token.start in starts or token.line > before.line


def _starts(tokens: Sequence[Token]) -> set[int]:
    """The offsets of the words that begin a statement."""
    words = [t for t in tokens if t.type != "COMMENT"]
    ends = set(statement_ends(words))
    starts, new = set(), True
    for index, word in enumerate(words):
        if word.type in ("_END", "RBRACE"):
            new = new or index in ends
        else:
            if new:
                starts.add(word.start)
            new = word.type == "LBRACE"
    return starts


def _open_blocks(tokens: Sequence[Token]) -> set[int]:
    """The offsets of the braces of the blocks that take more than one line: those that the author broke, or that hold
    more than one statement."""
    found: set[int] = set()
    stack: list[int] = []
    for index, token in enumerate(tokens):
        if token.type == "LBRACE":
            stack.append(index)
        elif token.type == "RBRACE":
            first = stack.pop()
            inside = tokens[first + 1 : index]
            if any(t.type in ("_END", "COMMENT") for t in inside) and any(t.type != "_END" for t in inside):
                found |= {tokens[first].start, token.start}
    return found


# ── rows → lines: indents and gaps ──────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Bracket:
    """An open bracket: its terminal, the indent of what it encloses and that of its closing."""

    type: str
    inner: int
    outer: int


def _lines(rows: Sequence[OutputLine], starts: set[int]) -> list[Line]:
    """The rows with their indents; gaps that may align stay as wide as they were."""
    lines: list[Line] = []
    stack = [Bracket("LBRACE", 0, 0)]
    statement = 0  # the indent of the current statement
    for row in rows:
        line = Line(0, [], row.comment, row.blank)
        lines.append(line)
        if not row.words:
            continue
        first = row.words[0]
        if first.start in starts:
            statement = stack[-1].inner
        line.indent = _indent(first, stack[-1], statement, first.start in starts)
        for comment in _comments_above(lines):
            comment.indent = stack[-1].inner if first.type in CLOSING else line.indent
        before: Token | None = None
        for word in row.words:
            line.cells.append(_cell(before, word, stack[-1].type == "LBRACE", starts))
            if word.type in OPENING:
                outer = statement if word.type == "LBRACE" else line.indent
                stack.append(Bracket(word.type, outer + INDENT, outer))
            elif word.type in CLOSING:
                closed = stack.pop()
                statement = closed.outer if closed.type == "LBRACE" else statement
            before = word
    return lines


def _indent(first: Token, inside: Bracket, statement: int, new: bool) -> int:
    """The indent of a line, from its first word and the bracket that encloses it."""
    if first.type in CLOSING:
        return inside.outer
    if new or first.type == "LBRACE":
        return statement
    return statement + INDENT if inside.type == "LBRACE" else inside.inner


def _comments_above(lines: Sequence[Line]) -> Iterator[Line]:
    """The comments on lines of their own directly above the last line."""
    return takewhile(lambda line: not line.cells, reversed(lines[:-1]))


def _cell(before: Token | None, word: Token, in_statement: bool, starts: set[int]) -> Cell:
    """The word in canonical form and the gap before it."""
    text = units.spelt(word.text) if word.type == "NUMBER" else word.text
    if before is None:
        return Cell(text)
    pair = {before.type, word.type}
    if word.type == "LPAR":
        tight = before.type in ("NAME", "LPAR", "LSQB") and before.start not in starts
    elif "EQUAL" in pair:
        tight = not in_statement
    else:
        tight = (
            before.type in ("LPAR", "LSQB", "DOT")
            or word.type in ("COMMA", "RPAR", "RSQB", "DOT")
            or pair == {"LBRACE", "RBRACE"}
        )
    if tight:
        return Cell(text)
    wide = word.start - before.end if in_statement and word.line == before.line else 1
    return Cell(text, max(1, wide), in_statement)


def _drop_blanks(lines: Sequence[Line]) -> None:
    """Remove the blank lines at the beginning of the text and inside brackets."""
    for above, line in zip([None, *lines], lines, strict=False):
        opened = above is None or (above.cells and above.cells[-1].text in ("(", "[", "{"))
        closes = line.cells and line.cells[0].text in (")", "]", "}")
        line.blank = line.blank and not opened and not closes
