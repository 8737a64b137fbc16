"""What was achieved, in sentences; and the signs that tables use."""

from __future__ import annotations

from collections.abc import Sequence

from recipelang.report import words
from recipelang.report.rows import Cell, Row
from recipelang.units import listed

MOST = 6  # sentences; more variants are summarised
CHOSEN, DOMINATED, FAILED = "★", "▽", "✗"


def leading(rows: Sequence[Row]) -> Row | None:
    """The row that the report presents first: the network that the recipe ends with, if there is only one."""
    found = [row for row in rows if row.goes_on]
    return found[0] if len(found) == 1 and not found[0].failed else None


def headline(rows: Sequence[Row]) -> tuple[tuple[str, str], ...]:
    """(name, sentence) of the networks that the recipes end with; empty if there are many."""
    found = [row for row in rows if row.goes_on]
    return tuple((row.title, said(row)) for row in found) if len(found) <= MOST else ()


def sentences(rows: Sequence[Row]) -> tuple[tuple[str, str], ...]:
    """The headline, then (name, sentence) of every other variant, or one sentence on all of them if there are many."""
    variants = [row for row in rows if row.kind == "variant"]
    if not variants:
        controls = [row for row in rows if row.kind == "control"]
        return tuple((row.name, said(row)) for row in controls) or (("", "Nothing was compressed."),)
    told = headline(rows)
    if len(variants) <= MOST:
        return (*told, *((row.title, said(row)) for row in variants if not row.goes_on))
    return (*told, ("", overview(rows)))


def overview(rows: Sequence[Row]) -> str:
    """One sentence on all variants: how many reached their end, and which of them nothing dominates."""
    variants = [row for row in rows if row.kind == "variant"]
    if not variants:
        return "Nothing was compressed."
    done = [row for row in variants if not row.failed]
    best = [row.name for row in done if not row.dominated]
    text = f"{len(done)} of {len(variants)} variants reached their end"
    if len(variants) == 1:
        text = "The one variant reached its end" if done else "The one variant did not reach its end"
    if best and len(best) < len(done):
        named = listed(best) if len(best) <= MOST else f"any of {len(best)} of them"
        text += f"; no other network is at least as good in everything as {named}"
    return f"{text}."


def said(row: Row) -> str:
    """How a network compares with healthy and with its control, or why it failed; half a sentence."""
    error = row.variant.error
    if error is not None:
        place = f" at line {error.line}" if error.line else ""
        code = f" ({error.code})" if error.code else ""
        return f"failed{place}: {error.message}{code}"
    against_healthy = [text for cell in row.cells if (text := _against_healthy(cell))]
    text = ", ".join(against_healthy) if against_healthy else "nothing was measured against healthy"
    qualities = [
        f"{cell.metric.name} {_noisy(str(cell.control.text), cell.control.interval, cell.control.noise)}"
        for cell in row.cells
        if cell.control and cell.metric.role == "quality"
    ]
    return f"{text}; against its control {', '.join(qualities)}" if qualities else text


def _against_healthy(cell: Cell) -> str:
    change = cell.change
    if change is None:
        return ""
    text = f"{change.text.removesuffix('×')} of healthy" if cell.metric.role == "cost" else change.text
    return f"{cell.metric.name} {_noisy(text, change.interval, change.noise)}"


def _noisy(text: str, interval: str, noise: bool) -> str:
    if noise:
        return f"{text} (within the noise)"
    return f"{text} ({interval})" if interval else text


def signs(row: Row) -> str:
    """The signs before a row's name."""
    if row.failed:
        return f"{FAILED} "
    found = (CHOSEN if row.variant.chosen else "") + (DOMINATED if row.dominated else "")
    return f"{found} " if found else ""


def legend(rows: Sequence[Row]) -> tuple[tuple[str, str], ...]:
    """(sign, meaning) of the signs that these rows use."""
    cells = [cell for row in rows for cell in row.cells]
    clocks = any(_drifted(cell) for cell in cells)
    used = (
        (
            words.NOISE,
            "within the noise: the interval is compatible with no change",
            any(c is not None and c.noise for cell in cells for c in (cell.change, cell.control)),
        ),
        (
            "±",
            "mean and standard deviation over seeds; intervals are for the mean over other seeds and samples",
            any(row.seeds > 1 for row in rows),
        ),
        (
            "×",
            "of healthy; times are measured alternately with it, so the quotient of two times shown may differ",
            clocks,
        ),
        (CHOSEN, "picked by `choose`", any(row.variant.chosen for row in rows)),
        (
            DOMINATED,
            "dominated: another network is at least as good in everything and clearly better in something",
            any(row.dominated for row in rows),
        ),
        (FAILED, "did not reach its end", any(row.failed for row in rows)),
    )
    return tuple((sign, meaning) for sign, meaning, is_used in used if is_used)


def notes(rows: Sequence[Row]) -> tuple[tuple[str, str], ...]:
    """(metric, what its numbers include or leave out), with the networks' names if these differ."""
    told: dict[str, dict[str, list[str]]] = {}
    for row in rows:
        for cell in row.cells:
            if cell.measured:
                told.setdefault(cell.metric.name, {}).setdefault(cell.measured.note, []).append(row.name)
    found = []
    for metric, names in told.items():
        texts = [note if len(names) == 1 else f"{note} ({listed(of, most=2)})" for note, of in names.items() if note]
        if texts:
            found.append((metric, "; ".join(texts)))
    return tuple(found)


def _drifted(cell: Cell) -> bool:
    """Whether a time and its ratio to healthy, measured at different moments, would seem to contradict each other."""
    m = cell.measured
    if cell.change is None or m is None or not m.ratio or not m.value or not m.healthy:
        return False
    return abs(m.value / m.healthy / m.ratio - 1) > 0.01
