"""The shape of a recipe for an editor's side bar: statements inside their blocks, and what can be folded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from recipelang.editor.cursor import words_of
from recipelang.editor.outline import Item, outline

#: longer statements are cut
WIDEST = 80


@dataclass(frozen=True)
class Entry:
    """A statement or `let` of a recipe.

    Attributes:
        title: its words on one line.
        sort: `variant`, `parameter`, `state`, `model`, `data` where it gives such a name, else `statement`.
        start, end: all of it.
        name_start, name_end: the name that it gives, else its verb.
        inner: those of its block.
    """

    title: str
    sort: str
    start: int
    end: int
    name_start: int
    name_end: int
    inner: tuple[Entry, ...] = ()


@dataclass(frozen=True)
class Fold:
    """Lines, from 1, of which all but the first may be hidden; `sort` is `block` or `comment`."""

    first: int
    last: int
    sort: str


def entries(text: str) -> tuple[Entry, ...]:
    """The statements of a text, finished or not."""
    return _entries(text, outline(text))


def _entries(text: str, items: Sequence[Item]) -> tuple[Entry, ...]:
    return tuple(_entry(text, item) for item in items)


def _entry(text: str, item: Item) -> Entry:
    title = " ".join(text[item.start : item.words[-1].end].split())
    title = title if len(title) <= WIDEST else f"{title[: WIDEST - 1]}…"
    sort, name = next(item.given(), ("statement", item.words[0]))
    return Entry(title, sort, item.start, item.end, name.start, name.end, _entries(text, item.block or ()))


def folds(text: str) -> list[Fold]:
    """Blocks, statements over several lines, and comments on consecutive lines of their own."""
    found = [*_blocks(text, outline(text)), *_comments(text)]
    return sorted({(fold.first, fold.last): fold for fold in found}.values(), key=lambda fold: (fold.first, fold.last))


def _blocks(text: str, items: Sequence[Item]) -> Iterator[Fold]:
    for item in items:
        first = item.words[0].line
        last = item.words[-1].line if item.block is None else first + text.count("\n", item.start, item.end)
        if last > first:
            yield Fold(first, last, "block")
        yield from _blocks(text, item.block or ())


def _comments(text: str) -> Iterator[Fold]:
    before = 0  # the last line with a word that is no comment
    lines: list[int] = []
    for word in words_of(text):
        if word.type == "COMMENT" and word.line != before:
            lines.append(word.line)
        elif word.type != "COMMENT" and word.text != "\n":
            before = word.line
    for _, run in groupby(enumerate(lines), key=lambda pair: pair[1] - pair[0]):
        several = [line for _, line in run]
        if len(several) > 1:
            yield Fold(several[0], several[-1], "comment")
