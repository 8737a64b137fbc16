"""A report as flat tables for spreadsheets and data frames: numbers, steps, layers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

from recipelang.kinds import figure as figures
from recipelang.report.context import ReportContext
from recipelang.report.layered import LayerForm, LayerSeconds
from recipelang.report.making import cost_of
from recipelang.report.measured import Against, Measured, Metric
from recipelang.report.rows import Cell, Row

Line = tuple[object, ...]

_MEASURED = (
    "value", "low", "high", "n", "healthy", "ratio", "ratio_low", "ratio_high",
    "difference", "difference_low", "difference_high", "noise",
)  # fmt: skip
_PERCENTILES = ("p50", "p90", "p99")
_AGAINST = tuple(field.name for field in fields(Against))
NUMBERS = (
    "run", "variant", "kind", "seed", "metric", "unit", "split", *_MEASURED, *_PERCENTILES,
    "std", "seeds", "interval", "note", "control", *(f"control_{name}" for name in _AGAINST),
    "best", "dominated_by", "chosen", "goes_on", "error",
)  # fmt: skip
STEPS = ("run", "variant", "kind", "seed", "line", "step", "asked", "reached", "note", "seconds", "cached", "error")
_FORM = tuple(field.name for field in fields(LayerForm))
LAYERS = (
    "run", "variant", "kind", "layer", "type", "shape", "executes", "why", "on",
    *_FORM, *(f"healthy_{name}" for name in _FORM),
)  # fmt: skip
_SECONDS = tuple(field.name for field in fields(LayerSeconds))
TIMES = (
    "run",
    "variant",
    "kind",
    "profile",
    "on",
    "layer",
    "type",
    *_SECONDS,
    *(f"healthy_{name}" for name in _SECONDS),
)


def numbers(context: ReportContext) -> Iterator[Line]:
    """A line for every network and metric, and for every seed of several; one for a network without numbers; and what
    each cost to make."""
    yield NUMBERS
    healthy = {row.origin: row.variant for row in context.rows if row.kind == "healthy"}
    for row in context.rows:
        lines = [_mean(context, row, cell) for cell in row.cells if cell.measured]
        yield from lines or [_line(context, row)]
        for run in row.variant.runs:
            if run.seed is not None and row.seeds > 1:
                for metric in context.metrics:
                    if metric.name in run.metrics:
                        yield _line(context, row, run.seed, metric, run.metrics[metric.name])
        cost = cost_of(row.variant, healthy.get(row.origin))
        if cost:
            passes = {f"cost: passes over {split}": ("", number) for split, number in cost.passes.items()}
            told = {"cost: time": ("s", cost.seconds), "cost: epochs": ("", cost.epochs), **passes}
            for name, (unit, value) in {**told, "cost: energy": ("J", cost.joules)}.items():
                if value is not None:
                    metric = Metric(name, unit, "cost", "lower")
                    yield _line(context, row, None, metric, Measured(value, note=cost.note))


def _mean(context: ReportContext, row: Row, cell: Cell) -> Line:
    assert cell.measured is not None
    return _line(context, row, None, cell.metric, cell.measured, cell)


def _line(
    context: ReportContext,
    row: Row,
    seed: int | None = None,
    metric: Metric | None = None,
    measured: Measured | None = None,
    cell: Cell | None = None,
) -> Line:
    """One line; `cell` only for the mean over seeds."""
    times = measured.percentiles if measured else None
    error = row.variant.error
    return (
        *_who(context, row),
        seed,
        *((metric.name, metric.unit, metric.split) if metric else (None,) * 3),
        *(getattr(measured, name, None) for name in _MEASURED),
        *(getattr(times, name, None) for name in _PERCENTILES),
        cell.deviation if cell else None,
        cell.n if cell else None,
        measured.interval if measured else None,
        measured.note if measured else None,
        row.control or None,
        *(getattr(measured.control if measured else None, name, None) for name in _AGAINST),
        cell.best if cell else None,
        "; ".join(row.dominated),
        row.variant.chosen,
        row.goes_on,
        error.message if error else None,
    )


def _who(context: ReportContext, row: Row) -> tuple[str, str, str]:
    return context.sources[row.origin].name, row.variant.name, row.kind


def steps(context: ReportContext) -> Iterator[Line]:
    """A line for every step of every network under every seed; the last step of one that failed has the error."""
    yield STEPS
    for row in context.rows:
        for run in row.variant.runs:
            for place, step in enumerate(run.steps):
                failed = row.variant.error is not None and place == len(run.steps) - 1
                yield (
                    *_who(context, row),
                    run.seed,
                    None if step.implied else step.line,
                    step.text,
                    figures.words(step.asked),
                    figures.words(step.reached),
                    step.note,
                    step.seconds,
                    step.cached,
                    row.variant.error.message if failed and row.variant.error else None,
                )


def layers(context: ReportContext) -> Iterator[Line]:
    """A line for every layer and way of executing: how it executes there and why, and what it is beside healthy's."""
    yield LAYERS
    for row in context.rows:
        runs = {(layer.layer, layer.on): layer for layer in row.variant.layers}
        pairs = {pair.layer: pair for pair in row.variant.forms}
        alone = ((name, None) for name in pairs.keys() - {name for name, _ in runs})
        for name, on in (*runs, *sorted(alone, key=lambda key: list(pairs).index(key[0]))):
            layer, pair = runs.get((name, on)) if on is not None else None, pairs.get(name)
            shape = layer.shape if layer else None
            yield (
                *_who(context, row),
                name,
                pair.kind if pair else None,
                "×".join(map(str, shape)) if isinstance(shape, tuple) else shape,
                *(getattr(layer, part, None) for part in ("executes", "why", "on")),
                *(getattr(pair.own if pair else None, part, None) for part in _FORM),
                *(getattr(pair.healthy if pair else None, part, None) for part in _FORM),
            )


def times(context: ReportContext) -> Iterator[Line]:
    """A line for every layer of every profile: what it takes of a call of the network, beside healthy's."""
    yield TIMES
    for row in context.rows:
        for profile in row.variant.profiles:
            for layer in profile.layers:
                yield (
                    *_who(context, row),
                    profile.name,
                    profile.on,
                    layer.layer,
                    layer.kind,
                    *(getattr(layer.own, part, None) for part in _SECONDS),
                    *(getattr(layer.healthy, part, None) for part in _SECONDS),
                )
