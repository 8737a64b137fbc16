"""The comparison: one row per network, each number against healthy and against its control."""

from __future__ import annotations

import re
import statistics
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
        interval: of the value: "1.80–1.85 ms"; `how` says how it was found.
        change: against healthy.
        control: against the control.
        measured: the number itself, for charts; None if there is none.
        n: how many seeds the value is the mean of; 1 if it is a single number.
        deviation: the standard deviation over these seeds; None with one.
        best: whether no variant is better in this column; see `best.best`.
    """

    metric: Metric
    value: str
    interval: str
    how: str
    change: Change | None
    control: Change | None
    measured: Measured | None
    n: int = 1
    best: bool = False
    deviation: float | None = None

    @property
    def counted(self) -> str:
        """The value; one that differs between seeds with their number: "91.20 ± 0.31 % (n=3)"."""
        return f"{self.value} (n={self.n})" if self.deviation else self.value


@dataclass(frozen=True)
class Row:
    """One network of the comparison.

    Attributes:
        name: as shown; preceded by the name of its run if several are compared.
        variant: the record.
        origin: which report it comes from, counted from 0.
        control: the shown name of its control; "".
        dominated: shown names of networks that are at least as good in everything and clearly better in something.
        lost_to: the foremost of these; "". lost_in: the metrics in which that one is clearly better.
        seeds: how many seeds it was run with; 1 if the recipe names none.
        goes_on: whether the recipe ends with this network; see `record.Variant`.
        anchor: the id of its row on a page, unlike that of every other row: `row-gentle`.
    """

    name: str
    variant: Variant
    origin: int
    cells: tuple[Cell, ...]
    control: str = ""
    dominated: tuple[str, ...] = ()
    lost_to: str = ""
    lost_in: tuple[str, ...] = ()
    seeds: int = 1
    goes_on: bool = False
    anchor: str = ""

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
        """Whether it did not reach its end."""
        return self.variant.error is not None


def rows(named: Sequence[tuple[str, Report]], metrics: Sequence[Metric]) -> tuple[Row, ...]:
    """The rows of one report, or of several side by side; healthy first, controls last within each.

    Args:
        named: each report under a unique name.
        metrics: the columns.
    """
    found: list[Row] = []
    for origin, (run, report) in enumerate(named):
        last = going_on(report)
        beside = {name: v for v in reversed(report.variants) if v.kind == "control" for name in v.control_of}
        shown = {v.name: v.name if len(named) == 1 else f"{run}: {v.name}" for v in report.variants}
        variants = sorted(report.variants, key=lambda v: ORDER[v.kind])
        found += [_row(variant, shown, origin, beside.get(variant.name), metrics, last) for variant in variants]
    named_rows = zip(found, anchors([row.name for row in found]), strict=True)
    return tuple(replace(row, anchor=anchor) for row, anchor in named_rows)


def anchors(names: Sequence[str]) -> tuple[str, ...]:
    """An id for each of the rows with these names: its letters and digits, numbered where others have the same."""
    found: list[str] = []
    counted: dict[str, int] = {}
    for name in names:
        plain = "row-" + (re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:48].strip("-") or "network")
        counted[plain] = number = counted.get(plain, 0) + 1
        found.append(plain if number == 1 else f"{plain}_{number}")  # an underscore is in no plain id
    return tuple(found)


def going_on(report: Report) -> frozenset[str]:
    """The names of the networks that the recipe ends with.

    If the record does not say: the variant `main` beside a chosen one, else the chosen one, else every variant.
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
    control: Variant | None,
    metrics: Sequence[Metric],
    last: frozenset[str],
) -> Row:
    control = control if variant.kind == "variant" else None
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
    if beside is None and control:  # a record without the paired comparison
        beside = words.against(measured, control.metrics.get(metric.name), metric)
    how = measured.interval if measured else ""
    return Cell(
        metric=metric,
        value=value,
        interval=words.interval(measured, metric),
        how=how,
        change=change,
        control=beside,
        measured=measured,
        n=max(1, len(values)),
        deviation=statistics.stdev(values) if len(values) > 1 else None,
    )


def seed_values(runs: Sequence[Run], metric: str) -> list[float]:
    """The values of a metric under each seed that has one."""
    found = (run.metrics.get(metric) for run in runs)
    return [m.value for m in found if m is not None and m.value is not None]
