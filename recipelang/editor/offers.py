"""What the help line of a diagnostic may mean, as edits of the text: each reading, the most likely first.

A help line is made for people; whether a reading is right is found out by trying it (`fixes.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from recipelang.editor.expected import verb_of
from recipelang.editor.formatting import Edit
from recipelang.editor.outline import Item, outline
from recipelang.errors import Diagnostic, Span
from recipelang.syntax.grammar import CLAUSES, Token
from recipelang.syntax.lalr import Unexpected, tree_of

_QUOTED = re.compile(r"`([^`]+)`")
_MEANT = re.compile(r"did you mean `([^`]+)`\?")
#: a part of a help line that says what to write, up to the examples after what it quotes
_WRITE = re.compile(r"\b(?:write(?! a comma| a clause)|add|give it|compares:)(?:[^;`:]*:)?[^;:]*(?:`[^`]*`[^;:`]*)*")
_MOVE = re.compile(r"\bmove (?:`[^`]*`|the line)[^;]*?before line (\d+)")
_REMOVE = re.compile(r"\bremove (it|the comma|one|this|the line)\b")
_TWICE = re.compile(r"\bname (?:each|each \w+) once\b|\bkeep one\b|\bkeep one of the two\b")
_COMPARE = re.compile(r"write `<` or `>` before `")
_CLOSE = re.compile(r"\bclose it with `(.)`")
#: the word around a place, up to a blank or what separates words
_RUN = re.compile(r"[^\s,;{}()]*")


@dataclass(frozen=True)
class Fix:
    """A way to fix a mistake.

    Attributes:
        title: what it does, in a few words.
        edits: of the recipe's text.
        sure: whether it is a name that the message itself asks for.
        exact: whether it replaces just what is wrong.
    """

    title: str
    edits: tuple[Edit, ...]
    sure: bool = False
    exact: bool = False


def offers(text: str, wrong: Diagnostic, span: Span) -> Iterator[tuple[Fix, ...]]:
    """The readings of a help line in groups; of a group, the first that helps is meant.

    Args:
        text: the recipe.
        wrong: the diagnostic.
        span: where it is.
    """
    help, old = wrong.help, text[span.start : span.end]
    item = _item_at(outline(text), span.start)
    for meant in _MEANT.findall(help):
        yield (Fix(f"Change to `{meant}`", (Edit(span.start, span.end, meant),), sure=True, exact=True),)
    if "write a comma" in help:
        yield (Fix(f"Write a comma before `{old}`", (Edit(len(text[: span.start].rstrip()), span.start, ", "),)),)
    if _COMPARE.search(help) and item:
        last = max((w for w in item.words if w.end <= span.end), key=lambda w: w.end)
        yield from ((Fix(f"Write `{sign}`", (Edit(last.start, last.start, f"{sign} "),)),) for sign in "<>")
    for close in _CLOSE.findall(help):
        yield tuple(Fix(f"Close with `{close}`", (edit,)) for edit in _closings(text, span, close, item))
    for line in _MOVE.findall(help) if item else ():
        yield tuple(_moved(text, int(line), item))
    for written in _WRITE.findall(help):
        for offer in _QUOTED.findall(written):
            if "…" not in offer and "NAME" not in offer and "DIR" not in offer:
                yield tuple(_written(text, offer, span, item, "for example" in help))
    yield tuple(_removed(text, help, span, item))
    if item and (end := _clause_end(item, span)):
        start = len(text[: span.start].rstrip(" "))
        yield (Fix(f"Remove `{_short(text[span.start : end])}`", (Edit(start, end, ""),)),)


# ── what is to be written ───────────────────────────────────────────────────────────────────────────────


def _written(text: str, offer: str, span: Span, item: Item | None, example: bool) -> Iterator[Fix]:
    """An offer in place of what is wrong: of the word, of what belongs to it, of the item or head of the statement
    that it is in; or as a clause or a line of its own. An example says less exactly what is meant."""
    first = offer.split(" ")[0]
    yield _change(text, span.start, span.end, offer, not example)
    if item is None:
        return
    for start, end, new, exact in _wider(text, offer, span, item):
        yield _change(text, start, end, new, exact and not example)
    if first in CLAUSES:
        yield Fix(f"Add `{offer}`", (Edit(item.words[-1].end, item.words[-1].end, f" {offer}"),))
    elif _is_statement(offer):
        line = text.rfind("\n", 0, item.start) + 1
        space = re.match(r"[ \t]*", text[line:])[0]  # type: ignore[index]
        yield Fix(f"Insert `{offer}` above", (Edit(line, line, f"{space}{offer}\n"),))
        after = text.find("\n", item.end)
        after = len(text) if after < 0 else after
        yield Fix(f"Insert `{offer}` below", (Edit(after, after, f"\n{space}{offer}"),))


def _change(text: str, start: int, end: int, new: str, exact: bool) -> Fix:
    return Fix(f"Change `{_short(text[start:end])}` to `{new}`", (Edit(start, end, new),), exact=exact)


def _wider(text: str, offer: str, span: Span, item: Item) -> Iterator[tuple[int, int, str, bool]]:
    """Stretches around a word with what replaces them, and whether that says the same in other words."""
    first, _, rest = offer.partition(" ")
    before = [word for word in item.words if word.end <= span.start]
    name, equals, value = offer.partition("=")
    if equals and len(before) > 1 and (before[-2].text, before[-1].text) == (name, "="):
        yield span.start, span.end, value, True
    start = span.start - len(_RUN.match(text[: span.start][::-1])[0])  # type: ignore[index]
    end = _RUN.match(text, span.end).end()  # type: ignore[union-attr]
    clause = next((word for word in reversed(before) if word.text in CLAUSES), None)
    if clause and rest and first in CLAUSES:  # the clause word is written already, or another one
        if clause.text == first:
            yield from ((start, stop, rest, True) for stop in (span.end, end))
        elif not any(word.type == "COMMA" and word.start > clause.start for word in before):
            yield clause.start, span.end, offer, False
    if before and before[-1].type == "NUMBER" and offer[:1].isdigit():
        yield before[-1].start, span.end, offer, True
    yield start, end, offer, True
    if call := _call(item, first.partition("(")[0], span):
        yield *call, offer, True
    if first == item.words[0].text:
        clauses = [word for word in item.words[1:] if word.text in CLAUSES]
        yield item.start, max(w.end for w in item.words if not clauses or w.end <= clauses[0].start), offer, False
    if " " in offer:
        yield from ((*stretch, offer, False) for stretch in _item(item, span))


def _call(item: Item, name: str, span: Span) -> tuple[int, int] | None:
    """The call of this name that a word is in: `train(samples=0)`."""
    for index, (word, bracket) in enumerate(zip(item.words, item.words[1:], strict=False)):
        if word.text != name or bracket.type != "LPAR" or bracket.end > span.start:
            continue
        depth = 0
        for inner in item.words[index + 1 :]:
            depth += (inner.type == "LPAR") - (inner.type == "RPAR")
            if not depth:
                return (word.start, inner.end) if inner.start >= span.end else None
    return None


def _item(item: Item, span: Span) -> Iterator[tuple[int, int]]:
    """The item of a clause that a word is in: a comparison, one of several joined by commas."""
    bounds = [w for w in item.words if w.text in CLAUSES or w.type in ("COMMA", "AND", "OR")]
    start = max((w.end for w in bounds if w.end <= span.start), default=item.words[0].end)
    end = min((w.start for w in bounds if w.start >= span.end), default=item.words[-1].end)
    inside = [w for w in item.words if start <= w.start and w.end <= end]
    if inside and (inside[0].start, inside[-1].end) != (span.start, span.end):
        yield inside[0].start, inside[-1].end


def _is_statement(offer: str) -> bool:
    word = offer.split(" ")[0]
    if not word.isidentifier() or (verb_of(word) is None and word != "let"):
        return False
    try:
        tree_of(offer)
    except Unexpected:
        return False
    return True


def _closings(text: str, span: Span, close: str, item: Item | None) -> Iterator[Edit]:
    """Where a bracket may be closed: before a clause word of its line, at the end of the line; a brace at the end."""
    line_end = text.find("\n", span.start)
    line_end = len(text) if line_end < 0 else line_end
    if close == "}":
        lead = "" if text.endswith("\n") or not text else "\n"
        yield Edit(len(text), len(text), f"{lead}}}\n")
        return
    words: list[Token] = [w for w in item.words if span.start < w.start < line_end] if item else []
    for word in words:
        if word.text in CLAUSES:
            at = len(text[: word.start].rstrip())
            yield Edit(at, at, close)
    at = words[-1].end if words else line_end
    yield Edit(at, at, close)


# ── what is to be removed or moved ──────────────────────────────────────────────────────────────────────


def _removed(text: str, help: str, span: Span, item: Item | None) -> Iterator[Fix]:
    """What a help line says to remove: the comma, the word, or the whole line."""
    old = _short(text[span.start : span.end])
    comma = max((w for w in item.words if w.type == "COMMA" and w.end <= span.start), default=None) if item else None
    if _TWICE.search(help) and comma and not text[comma.end : span.start].strip():
        yield Fix(f"Remove `{old}`", (Edit(comma.start, span.end, ""),), exact=True)
    for what in _REMOVE.findall(help):
        if what == "the comma" and old != ",":
            if comma:
                yield Fix("Remove the comma", (Edit(comma.start, comma.end, ""),), exact=True)
            continue
        if what != "the line":
            yield Fix(f"Remove `{old}`", (Edit(span.start, span.end, ""),), exact=True)
        if item and what in ("it", "the line"):
            yield Fix("Remove the line", (Edit(*_lines(text, item), ""),))


def _clause_end(item: Item, span: Span) -> int | None:
    """Where a clause ends whose word this is; None for any other word."""
    index = next((i for i, w in enumerate(item.words) if (w.start, w.end) == (span.start, span.end)), None)
    if index is None or item.words[index].text not in CLAUSES:
        return None
    after = next((w for w in item.words[index + 1 :] if w.text in CLAUSES), None)
    inside = [w for w in item.words[index:] if after is None or w.end <= after.start]
    return inside[-1].end


def _lines(text: str, item: Item) -> tuple[int, int]:
    """The lines of an item, its comment and the line end included; the item alone where others are beside it."""
    start, after = text.rfind("\n", 0, item.start) + 1, text.find("\n", item.end)
    end = len(text) if after < 0 else after
    beside = text[start : item.start] + re.sub(r"#.*", "", text[item.end : end])
    return (item.start, item.end) if beside.strip() else (start, min(end + 1, len(text)))


def _moved(text: str, line: int, item: Item | None) -> Iterator[Fix]:
    """A statement that belongs before another line."""
    if item is None:
        return
    start, end = _lines(text, item)
    target = sum(len(above) + 1 for above in text.split("\n")[: line - 1])
    if text[start:end].endswith("\n") and target < start:
        yield Fix(f"Move before line {line}", (Edit(target, target, text[start:end]), Edit(start, end, "")))


def _item_at(items: Sequence[Item], offset: int) -> Item | None:
    """The innermost statement at an offset."""
    for item in items:
        if item.start <= offset <= item.end:
            return (_item_at(item.block, offset) if item.block else None) or item
    return None


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 40 else f"{text[:39]}…"
