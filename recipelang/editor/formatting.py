"""The formatter's result as edits: only of what changes, and only in the lines that were asked for."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from itertools import groupby, takewhile
from typing import NamedTuple

from recipelang.editor.cursor import words_of
from recipelang.errors import RecipeError, Refusal
from recipelang.lazy import difflib
from recipelang.syntax.format import format
from recipelang.syntax.grammar import CLOSING, CONTINUING, OPENING, Token

#: of more lines than this, all are replaced
MOST_COMPARED = 1000


class Edit(NamedTuple):
    """A stretch of a text, by its offsets, and what replaces it."""

    start: int
    end: int
    text: str


def formatted(text: str, start: int = 0, end: int | None = None) -> tuple[Edit, ...]:
    """The edits that format a recipe, or those lines of it between two offsets; line ends stay as they are.

    Raises:
        RecipeError: the text has syntax errors; nothing is formatted then.
        Refusal: RCP0119: the formatter would change its meaning.
    """
    result = "\n".join(_formatted(part) for part in parts_of(text))
    if "\r\n" in text:
        result = result.replace("\n", "\r\n")
    before, after = text.splitlines(keepends=True), result.splitlines(keepends=True)
    offsets = [0]
    for line in before:
        offsets.append(offsets[-1] + len(line))
    end = len(text) if end is None else end
    found = (Edit(offsets[a], offsets[b], "".join(after[c:d])) for a, b, c, d in _changes(before, after))
    return tuple(edit for edit in found if edit.start <= end and (edit.end > start or edit.start >= start))


def prepare(text: str) -> None:
    """Format a text and keep its parts, so that the next question about them is answered at once."""
    with suppress(RecipeError, Refusal):
        formatted(text)


@lru_cache(maxsize=20_000)
def _formatted(part: str) -> str:
    """A part of a recipe in canonical layout: of a long one, only the part that changes is formatted again."""
    return format(part)


def parts_of(text: str) -> list[str]:
    """The text cut at blank lines between statements outside of blocks: what one part holds does not depend on others.

    A text that cannot be read is one part.
    """
    words = words_of(text)
    ends = _ended(words)
    cuts, depth = [0], 0
    for index, word in enumerate(words):
        blank = index > 1 and words[index - 1].text == words[index - 2].text == "\n"
        if blank and not depth and ends[index] and word.text != "\n":
            cuts.append(word.start - (word.column - 1))
        depth += (word.type in OPENING) - (word.type in CLOSING)
    parts = [text[a:b] for a, b in zip(cuts, (*cuts[1:], len(text)), strict=True)]
    return [part for part in parts if part.strip("\ufeff \t\r\n")] or [text]


def _ended(words: Sequence[Token]) -> list[bool]:
    """For each word, whether a statement may begin there: the next word that is no comment does not continue one."""
    ended, found = True, []
    for word in reversed(words):
        if word.type != "COMMENT" and word.text != "\n":
            ended = word.type not in CONTINUING
        found.append(ended)
    return found[::-1]


def _changes(before: list[str], after: list[str]) -> list[tuple[int, int, int, int]]:
    """The runs of lines that differ: from, to, and from and to in the result.

    Where there are as many lines as before, they are compared one by one: the search for common runs takes seconds on
    a long recipe, and is left out where most of it differs.
    """
    if len(before) == len(after):
        same = [old == new for old, new in zip(before, after, strict=True)]
        runs = [[index for index, _ in run] for equal, run in groupby(enumerate(same), key=lambda p: p[1]) if not equal]
        parts = [part for run in runs for part in _lines_alone(before, after, run)]
        return [(part[0], part[-1] + 1, part[0], part[-1] + 1) for part in parts]
    head = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(before, after, strict=False)))
    ends = zip(reversed(before[head:]), reversed(after[head:]), strict=False)
    tail = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], ends))
    old, new = before[head : len(before) - tail], after[head : len(after) - tail]
    if len(old) > MOST_COMPARED:
        return [(head, head + len(old), head, head + len(new))]
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    found = (codes[1:] for codes in matcher.get_opcodes() if codes[0] != "equal")
    return [(head + a, head + b, head + c, head + d) for a, b, c, d in found]


def _lines_alone(before: list[str], after: list[str], run: list[int]) -> list[list[int]]:
    """Each line of a run by itself, where no word has moved to another line; else all of them together."""
    stay = all("".join(before[line].split()) == "".join(after[line].split()) for line in run)
    return [[line] for line in run] if stay else [run]


def applied(text: str, edits: tuple[Edit, ...]) -> str:
    """The text after edits, which do not overlap."""
    for edit in sorted(edits, reverse=True):
        text = text[: edit.start] + edit.text + text[edit.end :]
    return text
