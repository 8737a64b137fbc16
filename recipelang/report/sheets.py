"""The tables of a report for LaTeX, which need the package booktabs alone."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from recipelang.report.context import ReportContext
from recipelang.report.latex import broken, latex
from recipelang.report.rows import Cell, Row
from recipelang.report.summary import CHOSEN, DOMINATED, FAILED, signs

T = TypeVar("T")
WIDEST_NAME = 34  # letters of a name that is not broken into lines
ROOM = 78  # letters in footnote size that are as wide as the text of an article
BROKEN_NAME = 0.3  # of that width, for longer names
MOST_LINES = 40  # of a table that fits on a page
MOST_STEPS = 160  # statements that are told; report.json has all


@dataclass(frozen=True)
class Sheet:
    """One table; all texts are LaTeX.

    Attributes:
        label: unique in the report.
        caption: what it shows.
        columns: of `tabular`.
        header: names of the columns; () for none.
        lines: the cells.
        groups: (text, number of the first column, of the last) of a line above the header; () for none.
    """

    label: str
    caption: str
    columns: str
    header: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    groups: tuple[tuple[str, int, int], ...] = ()


def sheets(context: ReportContext) -> tuple[Sheet, ...]:
    """The comparison; what was expected; what was asked for and reached; how layers execute; what it cost to make."""
    found = (*_comparison(context), *_expectations(context), *_steps(context), *_layers(context), *_making(context))
    name = re.sub(r"[^a-z0-9]+", "-", context.title.lower()).strip("-")[:40].strip("-") or "report"
    return tuple(replace(sheet, label=f"{name}-{number}" if number else name) for number, sheet in enumerate(found))


# -- the comparison ----------------------------------------------------------------------------------


def _comparison(context: ReportContext) -> list[Sheet]:
    """As many tables as fit on pages: columns in groups, and so many networks in one."""
    names = [_plain(row) for row in context.shown]
    wide = max(map(len, names), default=0) > WIDEST_NAME
    widths = [BROKEN_NAME if wide else 0.0]
    pieces = _pages(context.shown, [_height([name], widths) for name in names])
    found = [_compared(context, rows, columns, wide) for columns in _chunks(context, names) for rows in pieces]
    more = f" {context.more} more networks are in report.json." if context.more else ""
    whole = f"{broken(context.title)}. {latex(_legend(context))}.{more}"
    captions = [whole if not number else f"{broken(context.title)}, continued." for number in range(len(found))]
    return [replace(sheet, caption=caption) for sheet, caption in zip(found, captions, strict=True)]


Column = tuple[int, str]  # the number of a metric, and what of it: `value`, `change`, `control`


def _compared(context: ReportContext, rows: Sequence[Row], columns: Sequence[Column], wide: bool) -> Sheet:
    groups: dict[int, tuple[str, int, int]] = {}
    header = [""]
    for index, column in columns:
        metric = context.metrics[index]
        header.append(_HEADS[column, metric.role])
        split = f" ({latex(metric.split)})" if metric.split else ""
        first = groups[index][1] if index in groups else len(header)
        groups[index] = f"{latex(metric.name)}{split}", first, len(header)
    ends = context.ends
    lines = [
        (_name(row, row.name in ends), *(_TEXTS[column](row.cells[index]) for index, column in columns)) for row in rows
    ]
    names = rf"p{{{BROKEN_NAME}\textwidth}}" if wide else "l"
    shown = tuple(header) if any(header) else ()
    return Sheet("", "", names + "l" * len(columns), shown, tuple(lines), tuple(groups.values()))


def _plain(row: Row) -> str:
    """The name with its signs, about as wide as it is printed."""
    return (
        f"{signs(row)}{row.name}{' (failed)' if row.failed else ''}{'.' * (len(row.name) // 8 if row.goes_on else 0)}"
    )


def _name(row: Row, bold: bool) -> str:
    before = (CHOSEN if row.variant.chosen else "") + (DOMINATED if row.dominated else "")
    name = broken(row.name)
    shown = rf"\textbf{{{name}}}" if bold else name
    return f"{latex(before)}{' ' if before else ''}{shown}{' (failed)' if row.failed else ''}"


def _columns(context: ReportContext, index: int) -> tuple[str, ...]:
    """What a metric has columns for: its value, the change from healthy, that from the control."""
    cells = [row.cells[index] for row in context.shown]
    found = ["value"]
    if any(cell.change for cell in cells):
        found.append("change")
    if any(cell.control for cell in cells) and context.metrics[index].role == "quality":
        found.append("control")
    return tuple(found)


def _valued(cell: Cell) -> str:
    return rf"\textbf{{{latex(cell.counted)}}}" if cell.best else latex(cell.counted)


_HEADS = {
    **{("value", role): "" for role in ("cost", "quality", "property")},
    ("change", "cost"): "of healthy",
    ("change", "quality"): "from healthy",
    ("control", "quality"): "from its control",
}
_TEXTS: Mapping[str, Callable[[Cell], str]] = {
    "value": _valued,
    "change": lambda cell: latex(cell.change or ""),
    "control": lambda cell: latex(cell.control or ""),
}


def _chunks(context: ReportContext, names: Sequence[str]) -> list[list[Column]]:
    """The columns in groups that are as wide as a page; a value stays with its change from healthy."""
    room = ROOM - min(max(map(len, names), default=0), WIDEST_NAME)
    groups: list[list[Column]] = [[]]
    used = 0
    for index, metric in enumerate(context.metrics):
        own = _columns(context, index)
        for part in (
            [column for column in own if column != "control"],
            [column for column in own if column == "control"],
        ):
            needed = sum(_width(context, index, column) for column in part)
            needed = max(needed, len(metric.name) + len(metric.split) + 5) if "value" in part else needed
            if groups[-1] and used + needed > room:
                groups.append([])
                used = 0
            groups[-1] += [(index, column) for column in part]
            used += needed
    return groups


def _width(context: ReportContext, index: int, column: str) -> int:
    """About how many letters a column takes, with the space beside it."""
    cells = [row.cells[index] for row in context.shown]
    parts = {"change": [c.change for c in cells], "control": [c.control for c in cells]}
    texts = [str(part or "") for part in parts.get(column, ())] or [cell.counted for cell in cells]
    return 3 + max([len(_HEADS[column, context.metrics[index].role]), *map(len, texts)])


def _legend(context: ReportContext) -> str:
    best = any(cell.best for row in context.shown for cell in row.cells)
    said = ["Costs are ratios to healthy, qualities differences from it, with 95 % intervals"]
    said += [f"{sign} {meaning.replace('`', '')}" for sign, meaning in context.legend if sign != FAILED]
    said += ["bold: the best variant of its column"] if best else []
    said += [f"{metric}: {note.replace('`', '')}" for metric, note in context.notes]
    return "; ".join(said)


# -- the others --------------------------------------------------------------------------------------


def _table(caption: str, widths: Sequence[float], header: Sequence[str], lines: Sequence[Sequence[str]]) -> list[Sheet]:
    """Tables of texts that are broken into lines, as many as fit on pages.

    Args:
        caption: in words.
        widths: of the columns, as parts of the text's width; 0 is as wide as its texts.
        header, lines: in words.
    """
    columns = "".join(rf"p{{{width}\textwidth}}" if width else "l" for width in widths)
    pieces = _pages(lines, [_height(line, widths) for line in lines])
    captions = [f"{latex(caption)}{', continued' if number else ''}." for number in range(len(pieces))]
    made = [tuple(_line(line, widths) for line in _once(piece)) for piece in pieces]
    head = tuple(map(latex, header))
    return [Sheet("", told, columns, head, piece) for told, piece in zip(captions, made, strict=True)]


def _line(texts: Sequence[str], widths: Sequence[float]) -> tuple[str, ...]:
    cells = zip(texts, widths, strict=True)
    return tuple(rf"\raggedright {broken(text)}" if width and text else latex(text) for text, width in cells)


def _once(lines: Sequence[Sequence[str]]) -> list[Sequence[str]]:
    """The lines of one table; a name is only told where it is another one than that of the line before."""
    before = ["", *(line[0] for line in lines)]
    return [("", *line[1:]) if line[0] == last else line for last, line in zip(before, lines, strict=False)]


def _height(texts: Sequence[str], widths: Sequence[float]) -> int:
    """About how many lines a row takes on the page."""
    return max(math.ceil(len(t) / (0.9 * ROOM * w)) if w else 1 for t, w in zip(texts, widths, strict=True)) or 1


def _pages(lines: Sequence[T], heights: Sequence[int]) -> list[Sequence[T]]:
    """The lines in pieces that fit on a page."""
    pieces: list[list[T]] = []
    used = MOST_LINES
    for line, height in zip(lines, heights, strict=True):
        if used + height > MOST_LINES:
            pieces.append([])
            used = 0
        pieces[-1].append(line)
        used += height
    return list(pieces)


def _expectations(context: ReportContext) -> list[Sheet]:
    lines = [
        (v.expectation.text, v.of, v.value, f"{v.verdict} ({v.note})" if v.note else v.verdict)
        for v in context.verdicts
    ]
    return _table("What was expected", (0.25, 0.18, 0.25, 0.2), ("expectation", "of", "measured", "verdict"), lines)


def _steps(context: ReportContext) -> list[Sheet]:
    told = context.outcomes[:MOST_STEPS]
    more = len(context.outcomes) - len(told)
    caption = "What was asked for, and what was reached" + (f"; {more} more are in report.json" if more else "")
    lines = [(o.name, o.text, o.asked, o.reached, o.why.replace("`", "")) for o in told]
    return _table(caption, (0.12, 0.24, 0.14, 0.18, 0.17), ("", "step", "asked", "reached", "remarks"), lines)


def _layers(context: ReportContext) -> list[Sheet]:
    lines = [(name, group.sentence.replace("`", "")) for name, groups in context.layers for group in groups]
    return _table("How layers execute", (0.2, 0.72), ("", "layers"), lines)


def _making(context: ReportContext) -> list[Sheet]:
    making = context.making
    notes = any(made.note for made in making.rows)
    header = ("", *making.header, *(["remarks"] if notes else []))
    lines = [
        (made.name, *(text or "–" for text in made.texts), *([made.note.replace("`", "")] if notes else []))
        for made in making.rows
    ]
    widths = (0.3, *(0.0 for _ in making.header), *([0.25] if notes else []))
    return _table("What the networks cost to make, the mean over seeds", widths, header, lines)
