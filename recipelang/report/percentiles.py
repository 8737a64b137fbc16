"""Percentiles of clocks, for the details of a report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from recipelang.report import words
from recipelang.report.measured import MeasuredPercentiles, Metric
from recipelang.report.rows import Row
from recipelang.units import counted


@dataclass(frozen=True)
class PercentileTable:
    """The percentiles of one clock, network by network.

    Attributes:
        metric: the column.
        rows: (network, p50, p90, p99, number of samples), in words.
        note: of how many calls in a row a sample is the mean; "" where each is one call.
    """

    metric: Metric
    rows: tuple[tuple[str, str, str, str, int], ...]
    note: str


def percentiles(rows: Sequence[Row], metrics: Sequence[Metric]) -> tuple[PercentileTable, ...]:
    """A table for each metric that has percentiles for some network."""
    found = []
    for index, metric in enumerate(metrics):
        cells = [(row.name, row.cells[index].measured) for row in rows]
        known = [(name, m.percentiles) for name, m in cells if m is not None and m.percentiles is not None]
        if known:
            table = tuple((name, *_shown(one, metric.unit), one.n) for name, one in known)
            found.append(PercentileTable(metric, table, _note([one for _, one in known])))
    return tuple(found)


def _shown(one: MeasuredPercentiles, unit: str) -> tuple[str, str, str]:
    return words.quantity(one.p50, unit), words.quantity(one.p90, unit), words.quantity(one.p99, unit)


def _note(found: Sequence[MeasuredPercentiles]) -> str:
    least, most = min(one.calls for one in found), max(one.calls for one in found)
    if most == 1:
        return ""
    how_many = counted(most, "call") if least == most else f"{least} to {most} calls"
    return f"each sample is the mean of {how_many} in a row, since one is too short to time"
