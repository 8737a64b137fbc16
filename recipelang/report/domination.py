"""Which networks of a comparison are no better than another one in anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from recipelang.report.measured import Metric
from recipelang.report.rows import Cell, Row

MOST = 5000  # networks that are compared: every one with every other
MOST_NAMED = 5  # of those that dominate one network, if there are many


def dominated(found: Sequence[Row], metrics: Sequence[Metric]) -> tuple[Row, ...]:
    """The rows, each variant with the names of those that dominate it, and with what the foremost of them is better in.

    The foremost is a network that the recipe goes on with, or one that nothing dominates. Only if a cost and a quality
    were measured: without a quality, a network that costs more is not worse. Not among more than `MOST` networks.
    """
    deciding = [i for i, m in enumerate(metrics) if m.role != "property"]
    if {metrics[i].role for i in deciding} != {"cost", "quality"} or not 0 < len(found) <= MOST:
        return tuple(found)
    columns = [_column([row.cells[i] for row in found]) for i in deciding]
    origins = np.array([row.origin for row in found])
    stands = np.array([not row.failed for row in found])
    beaten: dict[int, tuple[list[int], list[np.ndarray]]] = {}  # place → who dominates it, and in which columns
    for place, row in enumerate(found):
        if row.kind != "variant" or row.failed:
            continue
        as_good, clearly, columnwise = stands.copy(), np.zeros(len(found), bool), []
        as_good[place] = False
        for column in columns:
            good, better = column.against(place, origins == row.origin)
            as_good &= good
            clearly |= better
            columnwise.append(better)
        by = np.flatnonzero(as_good & clearly)
        if by.size:
            beaten[place] = by.tolist(), [better[by] for better in columnwise]
    most = len(found) if len(found) <= 1000 else MOST_NAMED
    result = list(found)
    for place, (rivals, columnwise) in beaten.items():
        first = min(range(len(rivals)), key=lambda n: (not found[rivals[n]].goes_on, rivals[n] in beaten, n))
        result[place] = replace(
            found[place],
            dominated=tuple(found[i].name for i in rivals[:most]),
            lost_to=found[rivals[first]].name,
            lost_in=tuple(metrics[i].name for i, better in zip(deciding, columnwise, strict=True) if better[first]),
        )
    return tuple(result)


@dataclass(frozen=True)
class _Column:
    """One metric of every row, lower is better: value, low and high, 3 × rows each; NaN if there is none.

    Attributes:
        cost: whether clocks may agree within their intervals.
        plain: as measured.
        ratios: to the healthy network of the same run.
    """

    cost: bool
    plain: np.ndarray
    ratios: np.ndarray

    def against(self, place: int, same_run: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """For every row, whether it is at least as good as the row at a place, and whether it is clearly better.

        Two numbers are compared on a common scale: ratios to the same healthy if both have one.
        """
        use = same_run & ~np.isnan(self.ratios[0]) & ~np.isnan(self.ratios[0, place])
        if not self.cost:
            use[:] = False
        value, low, high = np.where(use, self.ratios, self.plain)
        own, own_low, own_high = (np.where(use, self.ratios[i, place], self.plain[i, place]) for i in range(3))
        # Two clocks agree if their intervals overlap; a quality is compared by its value.
        good = (value <= own) | (low <= own_high if self.cost else False)
        known = ~np.isnan(self.plain[0]) & ~np.isnan(self.plain[0, place])
        return good & known, known & (high < own_low)


def _column(cells: Sequence[Cell]) -> _Column:
    metric = cells[0].metric
    plain, ratios = (np.full((3, len(cells)), np.nan) for _ in range(2))
    for place, cell in enumerate(cells):
        m = cell.measured
        if m is None or m.value is None:
            continue
        plain[:, place] = _side(m.value, m.low, m.high)
        if m.ratio is not None:
            ratios[:, place] = _side(m.ratio, m.ratio_low, m.ratio_high)
    if metric.better == "higher":
        plain, ratios = -plain[[0, 2, 1]], -ratios[[0, 2, 1]]
    return _Column(metric.role == "cost", plain, ratios)


def _side(value: float, low: float | None, high: float | None) -> tuple[float, float, float]:
    return value, value if low is None else low, value if high is None else high
