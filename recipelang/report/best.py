"""Which network is the best in a column of the comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from recipelang.report.measured import Measured, Metric
from recipelang.report.rows import Row


def best(found: Sequence[Row], metrics: Sequence[Metric], data: Sequence[str] = ()) -> tuple[Row, ...]:
    """The rows, with the cells marked that are the best of their column among the variants.

    Costs whose intervals meet that of the best are as good as it, the same as for domination; qualities are compared by
    their values. Nothing is marked where fewer than two variants have a number, or where all are equally good; and no
    quality where they were measured on different data.

    Args:
        found: the rows.
        metrics: the columns.
        data: of each run that rows come from, in words; without it, all have the same.
    """
    marked: dict[int, set[int]] = {}
    for index, metric in enumerate(metrics):
        if metric.role != "property":
            for place in _winners(found, index, metric, data):
                marked.setdefault(place, set()).add(index)
    return tuple(_marked(row, marked[place]) if place in marked else row for place, row in enumerate(found))


def _marked(row: Row, columns: set[int]) -> Row:
    cells = (replace(cell, best=True) if index in columns else cell for index, cell in enumerate(row.cells))
    return replace(row, cells=tuple(cells))


def _winners(found: Sequence[Row], index: int, metric: Metric, data: Sequence[str]) -> list[int]:
    """The places of the best rows of one column."""
    places = [
        place
        for place, row in enumerate(found)
        if row.kind == "variant" and not row.failed and (m := row.cells[index].measured) and m.value is not None
    ]
    if data and metric.role == "quality" and len({data[found[place].origin] for place in places}) > 1:
        return []
    numbers = [found[place].cells[index].measured for place in places]
    one_healthy = len({found[place].origin for place in places}) == 1
    relative = metric.role == "cost" and one_healthy and all(m is not None and m.ratio is not None for m in numbers)
    sides = {place: _side(m, relative, metric) for place, m in zip(places, numbers, strict=True) if m is not None}
    if len(sides) < 2:
        return []
    leader = min(sides.values())
    reach = leader[2] if metric.role == "cost" else leader[0]
    winners = [place for place, (value, low, _) in sides.items() if (low if metric.role == "cost" else value) <= reach]
    return winners if len(winners) < len(sides) else []


def _side(measured: Measured, relative: bool, metric: Metric) -> tuple[float, float, float]:
    """Value, low and high, the lower the better; of the ratio to healthy, or as measured."""
    value, low, high = measured.value, measured.low, measured.high
    if relative:
        value, low, high = measured.ratio, measured.ratio_low, measured.ratio_high
    assert value is not None
    low, high = value if low is None else low, value if high is None else high
    return (value, low, high) if metric.better == "lower" else (-value, -high, -low)
