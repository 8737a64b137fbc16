"""How a number is spread over many seeds: quartiles for a table, and the boxes of a chart."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from recipelang.report import words
from recipelang.report.axes import FARTHEST
from recipelang.report.measured import Measured, Metric
from recipelang.report.rows import Row

FEWEST = 5  # seeds; quartiles of fewer say little


@dataclass(frozen=True)
class Box:
    """One network's numbers under all seeds.

    Attributes:
        row: the network.
        numbers: ascending; ratios to healthy for a cost, else values, shares in per cent.
        quartiles: the least, the three quartiles (linear between neighbours), the greatest.
    """

    row: Row
    numbers: tuple[float, ...]
    quartiles: tuple[float, float, float, float, float]


@dataclass(frozen=True)
class Spread:
    """One metric of all networks with many seeds.

    Attributes:
        metric: the column; `index` is its number.
        unit: of the numbers: `×`, `%` or that of the metric.
        boxes: the networks, at least one with numbers that differ.
    """

    metric: Metric
    index: int
    unit: str
    boxes: tuple[Box, ...]

    @property
    def table(self) -> tuple[tuple[str, int, tuple[str, ...]], ...]:
        """(network, number of seeds, the quartiles in words)."""
        widest = max(box.quartiles[4] - box.quartiles[0] for box in self.boxes)
        digits = words.decimals(-widest / 40, widest / 40, 2)
        return tuple(
            (box.row.name, len(box.numbers), tuple(words.number(q, digits) for q in box.quartiles))
            for box in self.boxes
        )


def spreads(rows: Sequence[Row], metrics: Sequence[Metric]) -> tuple[Spread, ...]:
    """Every metric that differs between seeds, of the networks that have at least five."""
    found = []
    for index, metric in enumerate(metrics):
        boxes = tuple(box for row in rows if row.kind != "healthy" and (box := _box(row, metric)))
        if metric.role != "property" and any(box.numbers[0] < box.numbers[-1] for box in boxes):
            unit = "×" if metric.role == "cost" else metric.unit
            found.append(Spread(metric, index, unit, boxes))
    return tuple(found)


def _box(row: Row, metric: Metric) -> Box | None:
    measured = (run.metrics.get(metric.name) for run in row.variant.runs)
    numbers = sorted(n for m in measured if m is not None and (n := _number(m, metric)) is not None)
    if len(numbers) < FEWEST:
        return None
    lower, median, upper = statistics.quantiles(numbers, n=4, method="inclusive")
    return Box(row, tuple(numbers), (numbers[0], lower, median, upper, numbers[-1]))


def _number(measured: Measured, metric: Metric) -> float | None:
    """A ratio to healthy for a cost, else the value; None where there is none, or none that an axis can show."""
    value = measured.ratio if metric.role == "cost" else measured.value
    if value is None or abs(value) > FARTHEST / 100:
        return None
    return value * 100 if metric.unit == "%" and metric.role != "cost" else value
