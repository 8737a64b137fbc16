"""The comparison: one row per network, each number against healthy and against its control."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from recipelang.report import words
from recipelang.report.measured import Measured, Metric
from recipelang.report.record import Report, Run, Variant
from recipelang.report.words import Change

ORDER = {"healthy": 0, "variant": 1, "control": 2}


@dataclass(frozen=True)
class Cell:
    """One number of the comparison.

    Attributes:
        metric: the column.
        value: "1.82 ms"; over seeds "91.20 ± 0.31 %".
        interval: of the value: "1.80–1.85 ms"; how it was found is `how`.
        change: against healthy.
        control: against the control.
        measured: the number itself, for charts; None where there is none.
    """

    metric: Metric
    value: str
    interval: str
    how: str
    change: Change | None
    control: Change | None
    measured: Measured | None


@dataclass(frozen=True)
class Row:
    """One network of the comparison.

    Attributes:
        name: shown; with the name of its run before it where several stand side by side.
        variant: the record.
        origin: which report it comes from, counted from 0.
        control: the shown name of its control; "".
        dominated: shown names of networks that are at least as good in everything and clearly better in something.
        seeds: how many seeds it was run with; 1 where the recipe names none.
        goes_on: whether the recipe ends with this network; see `record.Variant`.
    """

    name: str
    variant: Variant
    origin: int
    cells: tuple[Cell, ...]
    control: str = ""
    dominated: tuple[str, ...] = ()
    seeds: int = 1
    goes_on: bool = False

    @property
    def kind(self) -> str:
        """`healthy`, `variant` or `control`."""
        return self.variant.kind

    @property
    def title(self) -> str:
        """The name, and which variant it was made from: `main (from gentle)`."""
        return f"{self.name} (from {self.variant.origin})" if self.variant.origin else self.name

    @property
    def failed(self) -> bool:
        """Whether it did not come to its end."""
        return self.variant.error is not None


def rows(named: Sequence[tuple[str, Report]], metrics: Sequence[Metric]) -> tuple[Row, ...]:
    """The rows of one report, or of several side by side; healthy first, controls last within each.

    Args:
        named: each report under a name that is its own.
        metrics: the columns.
    """
    found: list[Row] = []
    for origin, (run, report) in enumerate(named):
        last = going_on(report)
        shown = {v.name: v.name if len(named) == 1 else f"{run}: {v.name}" for v in report.variants}
        variants = sorted(report.variants, key=lambda v: ORDER[v.kind])
        found += [_row(variant, shown, origin, report, metrics, last) for variant in variants]
    return tuple(_dominated(found, metrics))


def going_on(report: Report) -> frozenset[str]:
    """The names of the networks that the recipe ends with.

    Where the record does not say: what stands beside a chosen variant under the name `main`, else the chosen one, else
    every variant.
    """
    variants = [v for v in report.variants if v.kind == "variant"]
    if any(v.goes_on is not None for v in variants):
        return frozenset(v.name for v in variants if v.goes_on)
    chosen = [v.name for v in variants if v.chosen]
    onward = [v.name for v in variants if v.name == "main"] if chosen else []
    return frozenset(onward or chosen or [v.name for v in variants])


def _row(
    variant: Variant,
    shown: dict[str, str],
    origin: int,
    report: Report,
    metrics: Sequence[Metric],
    last: frozenset[str],
) -> Row:
    beside = (v for v in report.variants if v.kind == "control" and variant.name in v.control_of)
    control = next(beside, None) if variant.kind == "variant" else None
    cells = tuple(_cell(variant, control, metric) for metric in metrics)
    name = shown[control.name] if control else ""
    seeds = max(1, len(variant.runs))
    return Row(shown[variant.name], variant, origin, cells, name, seeds=seeds, goes_on=variant.name in last)


def _cell(variant: Variant, control: Variant | None, metric: Metric) -> Cell:
    measured = variant.metrics.get(metric.name)
    values = seed_values(variant.runs, metric.name)
    value = words.spread(values, metric) if len(values) > 1 else words.value(measured, metric)
    change = None if variant.kind == "healthy" else words.against_healthy(measured, metric)
    beside = words.against_control(measured, metric)
    if beside is None and control:  # a record that does not pair the two
        beside = words.against(measured, control.metrics.get(metric.name), metric)
    how = measured.interval if measured else ""
    return Cell(metric, value, words.interval(measured, metric), how, change, beside, measured)


def seed_values(runs: Sequence[Run], metric: str) -> list[float]:
    """The values of a metric under each seed that has one."""
    found = (run.metrics.get(metric) for run in runs)
    return [m.value for m in found if m is not None and m.value is not None]


def _dominated(found: list[Row], metrics: Sequence[Metric]) -> list[Row]:
    """The rows, each variant with the names of those that dominate it.

    Only where a cost and a quality were measured: a network is not worse for costing more if nobody looked at
    what it is good for.
    """
    deciding = [i for i, m in enumerate(metrics) if m.role != "property"]
    if {metrics[i].role for i in deciding} != {"cost", "quality"}:
        return found
    result = []
    for row in found:
        better = [other.name for other in found if other is not row and _dominates(other, row, deciding)]
        result.append(replace(row, dominated=tuple(better)) if row.kind == "variant" else row)
    return result


def _dominates(better: Row, row: Row, deciding: Sequence[int]) -> bool:
    if better.failed or row.failed:
        return False
    clearly = False
    for i in deciding:
        sides = _sides(better, row, i)
        if sides is None:
            return False
        (value, low, high), (other, other_low, other_high) = sides
        metric = row.cells[i].metric
        if metric.better == "higher":
            (value, low, high), (other, other_low, other_high) = (
                (-value, -high, -low),
                (-other, -other_high, -other_low),
            )
        # Two clocks agree where their intervals meet; a quality has to be as good as it stands.
        alike = metric.role == "cost" and low <= other_high
        if value > other and not alike:
            return False
        clearly = clearly or high < other_low
    return clearly


Side = tuple[float, float, float]


def _sides(first: Row, second: Row, index: int) -> tuple[Side, Side] | None:
    """Two numbers with their intervals on a common scale: ratios to the same healthy where both have one."""
    a, b = first.cells[index].measured, second.cells[index].measured
    if a is None or b is None or a.value is None or b.value is None:
        return None
    cost = first.cells[index].metric.role == "cost"
    if cost and first.origin == second.origin and a.ratio is not None and b.ratio is not None:
        return _side(a.ratio, a.ratio_low, a.ratio_high), _side(b.ratio, b.ratio_low, b.ratio_high)
    return _side(a.value, a.low, a.high), _side(b.value, b.low, b.high)


def _side(value: float, low: float | None, high: float | None) -> Side:
    return value, value if low is None else low, value if high is None else high
