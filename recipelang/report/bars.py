"""One metric of every network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from recipelang.report.axes import BEYOND, Point, limits_of, point, reaches_beyond
from recipelang.report.chart import WIDTH, Chart, Text, text_of
from recipelang.report.listing import MOST_ROOMY, ROOMY, TIGHT, names_above, names_left
from recipelang.report.looks import Look
from recipelang.report.rows import Row
from recipelang.report.svg import INK, MUTED, drawing, marked, to_svg
from recipelang.report.tips import tip

MOST_DRAWN = 60


def bars(rows: Sequence[Row], index: int, look: Mapping[str, Look]) -> Chart | None:
    """One metric of all networks: costs as bars from zero, qualities as points with their intervals.

    A few networks stand in the order of the comparison with their names above; many from the best to the worst.
    """
    metric = rows[0].cells[index].metric if rows else None
    if metric is None:
        return None
    relative = metric.role == "cost"
    drawn = [(row, p) for row in _first(rows) if (p := point(row.cells[index], relative, row.kind))]
    if len(drawn) < 2:
        return None
    roomy = len(drawn) <= MOST_ROOMY
    if not roomy:
        drawn.sort(key=lambda one: one[1].value * (1 if metric.better == "lower" else -1))
    points = [spot for _, spot in drawn]
    limits = limits_of(points, held=[0.0, 1.0] if relative else ())
    limits = (0.0, limits[1]) if relative else limits
    with drawing(WIDTH, 0.62 + (ROOMY if roomy else TIGHT) * len(drawn)) as figure:
        axes = figure.subplots()
        axes.set_xlim(*limits)
        _reference(axes, drawn, relative, 0.16 if roomy else 0.5)
        _marks(axes, drawn, index, look, relative)
        (names_above if roomy else names_left)(axes, [(row, row.cells[index].value) for row, _ in drawn])
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("of healthy" if relative else f"{metric.name}{' (%)' if metric.unit == '%' else ''}")
        name = f"metric-{index}"
        svg = to_svg(figure, name, f"{metric.name} of every network")
    split = f", on {metric.split}" if metric.split else ""
    caption = f"{metric.better.capitalize()} is better{split}."
    if any(p.below or p.above for p in points):
        caption += f" Whiskers are 95 % intervals{BEYOND if reaches_beyond(points, limits) else ''}."
    caption += " The thin line is healthy." if any(row.kind == "healthy" for row, _ in drawn) else ""
    caption += "" if roomy else " From the best to the worst."
    caption += f" {MOST_DRAWN} of {len(rows):,} networks are drawn." if len(rows) > MOST_DRAWN else ""
    return Chart(name, metric.name, caption, svg, "comparison", _text(drawn, index))


def _first(rows: Sequence[Row]) -> list[Row]:
    """The rows that the chart has room for, in order: healthy, what recipes end with, controls, then others."""
    kinds = {"healthy": 0, "control": 2}
    rank = [kinds.get(row.kind, 1 if row.goes_on else 3) for row in rows]
    return [rows[i] for i in sorted(sorted(range(len(rows)), key=lambda i: (rank[i], i))[:MOST_DRAWN])]


def _reference(axes: Any, drawn: Sequence[tuple[Row, Point]], relative: bool, reach: float) -> None:
    """A line in each row where healthy is; its reach above and below leaves room for what is written there."""
    healthy = [spot.value for row, spot in drawn if row.kind == "healthy"]
    if relative or healthy:
        at = 1.0 if relative else healthy[0]
        rows = range(len(drawn))
        axes.vlines(
            [at] * len(rows), [k - reach for k in rows], [k + reach for k in rows], MUTED, linewidth=0.9, zorder=0.5
        )


def _marks(axes: Any, drawn: Sequence[tuple[Row, Point]], index: int, look: Mapping[str, Look], relative: bool) -> None:
    """Bars from zero, or points, with their intervals."""
    shades, spots = [look[row.name].colour for row, _ in drawn], [spot for _, spot in drawn]
    values, places = [spot.value for spot in spots], range(len(drawn))
    sure = [k for k, spot in enumerate(spots) if spot.below or spot.above]
    error = [[spots[k].below for k in sure], [spots[k].above for k in sure]]
    at = [values[k] for k in sure]
    if relative:
        for bar, (row, _) in zip(axes.barh(places, values, height=0.3, color=shades, alpha=0.85), drawn, strict=True):
            marked(bar, (tip(row, index), row.anchor))
        if sure:
            axes.errorbar(at, sure, xerr=error, fmt="none", ecolor=INK, elinewidth=1.3, capsize=2)
        return
    if sure:
        axes.errorbar(at, sure, xerr=error, fmt="none", ecolor=[shades[k] for k in sure], elinewidth=1.4)
    kinds: dict[Look, list[int]] = {}
    for k, (row, _) in enumerate(drawn):
        kinds.setdefault(look[row.name], []).append(k)
    for found, members in kinds.items():
        (line,) = axes.plot([values[k] for k in members], members, found.shape, color=found.colour, markersize=6)
        marked(line, *((tip(drawn[k][0], index), drawn[k][0].anchor) for k in members))


def _text(drawn: Sequence[tuple[Row, Any]], index: int) -> Text:
    """One metric of the networks: value, change against healthy, interval of the value."""
    header = ("network", drawn[0][0].cells[index].metric.name, "against healthy", "95 % interval")
    cells = ((row, row.cells[index]) for row, _ in drawn)
    return text_of(header, ((row.name, c.value, str(c.change or "–"), c.interval or "–") for row, c in cells))
