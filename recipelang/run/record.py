"""The record of a run: what every lane did and measured, as the JSON from which reports are made.

The form is `reports/report.schema.json`: numbers in base units, healthy first, then variants, then controls.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from typing import Any

from recipelang.budgets.conditions import column_of
from recipelang.catalogue import find, spell
from recipelang.errors import Diagnostic, Refusal
from recipelang.kinds import LayerExecution, Task, figure
from recipelang.plan import CURRENT, Plan, Reading, conditions_of, tests_of
from recipelang.run import cells, costs, layers
from recipelang.run.evaluate import Readings
from recipelang.run.lanes import Lane, StepRecord, by_variant
from recipelang.runtimes.layers import USUAL, executed, plain
from recipelang.surgery.network import Network

#: columns of a report whose recipe has no `measure`, after the task's own
DEFAULT_COLUMNS = ("latency", "flops", "params", "size", "sparsity")

#: what a row of a history has beside numbers
_WORDS = ("validation", "unvalidated")

#: resets what a `choose` may have set on a lane
UNCHOSEN: dict[str, Any] = {"chosen": False, "lost": False, "passed": False, "origin": None}


def columns_of(lanes: Sequence[Lane], task: Task, plan: Plan) -> list[Reading]:
    """The columns that `measure` asked for, in order.

    If there is no `measure`: the default ones, and what the budgets and guards of the recipe read.
    """
    asked = [reading for lane in lanes for reading in lane.columns]
    if not asked:
        made = [_metric(name) for name in (*task.metrics[:1], *DEFAULT_COLUMNS)]
        tests = (test for condition in conditions_of(plan.nodes) for test in tests_of(condition))
        asked = [Reading(metric, CURRENT) for metric in (*made, *(test.reading.metric for test in tests))]
    unique: dict[str, Reading] = {}
    for reading in asked:
        unique.setdefault(column_of(reading), reading)
    return list(unique.values())


def columns_json(columns: Sequence[Reading]) -> list[dict[str, Any]]:
    """The columns as the report describes them."""
    return [
        {
            "name": column_of(r),
            "unit": r.metric.unit,
            "role": r.metric.role,
            "better": r.metric.better,
            "split": r.split if r.metric.source == "predictions" else "",
        }
        for r in columns
    ]


def variants_json(lanes: Sequence[Lane], columns: Sequence[Reading], readings: Readings) -> list[dict[str, Any]]:
    """Healthy and every variant and control, measured: one run per seed and their mean."""
    healthy = [
        lane.fork(
            path=("healthy",), parameters={}, current=lane.healthy, steps=_before_healthy(lane), error=None, **UNCHOSEN
        )
        for lane in lanes
        if lane.healthy
    ]
    first: dict[tuple[str, int], Lane] = {}
    for lane in healthy:
        if lane.healthy:
            first.setdefault((lane.healthy.content, lane.seed), lane)
    contents = {content for content, _ in first}
    shown = list(first.values()) if len(contents) > 1 else list(first.values())[:1]
    groups = [("healthy", "healthy", shown)]
    groups += [(name, _kind(group[0]), group) for name, group in by_variant(list(lanes)).items()]
    controls = {(name, lane.seed): lane for lane in lanes if not lane.error for name in lane.control_of}
    return [_variant(name, kind, group, columns, readings, controls) for name, kind, group in groups if group]


def _kind(lane: Lane) -> str:
    return "control" if lane.control_of else "variant"


def _before_healthy(lane: Lane) -> list[Any]:
    """The records before the first step that compresses: those that every variant shares."""
    return list(lane.steps[: lane.shared])


def _variant(
    name: str,
    kind: str,
    group: Sequence[Lane],
    columns: Sequence[Reading],
    readings: Readings,
    controls: Mapping[tuple[str, int], Lane],
) -> dict[str, Any]:
    error = next((lane.error for lane in group if lane.error), None)
    seeds = [_measured(name, lane, columns, readings, controls.get((name, lane.seed))) for lane in group]
    runs: list[dict[str, Any]] = [
        {
            "seed": lane.seed if lane.seeded else None,
            "folder": lane.folder if kind != "healthy" and _whole(lane) else "",
            "metrics": {title: cells.numbers(reading.metric, [cell]) for title, (reading, cell) in measured.items()},
            "steps": [_step(step) for step in _own(lane, kind)],
            "cost": costs.together([step.cost for step in _own(lane, kind)]),
        }
        for lane, measured in zip(group, seeds, strict=True)
    ]
    current = group[0].current
    return {
        "name": name,
        "kind": kind,
        "parameters": dict(group[0].parameters),
        "control_of": list(group[0].control_of),
        "error": trouble(error) if error else None,
        "chosen": any(lane.chosen for lane in group),
        "goes_on": kind == "variant" and not any(lane.lost or lane.passed for lane in group),
        "origin": group[0].origin.name if group[0].origin and group[0].origin.name != name else "",
        "metrics": {
            heading: cells.numbers(reading.metric, [measured[heading][1] for measured in seeds])
            for reading in columns
            if all((heading := column_of(reading)) in measured for measured in seeds)
        },
        "layers": _layers(readings.network(current), columns, readings)
        if current and (group[0].written or not error)
        else [],
        "runs": runs,
        "forms": _forms(group[0], error, readings),
        "profiles": layers.profiles((h, r.metric, cell.mine) for h, (r, cell) in seeds[0].items()),
        "cost": costs.mean([run["cost"] for run in runs]),
    }


def _own(lane: Lane, kind: str) -> list[StepRecord]:
    """The steps of a row: those before healthy are healthy's."""
    return lane.steps if kind == "healthy" else lane.steps[lane.shared :]


def _step(step: StepRecord) -> dict[str, Any]:
    """A step as the report holds it."""
    figures = {"asked": step.asked, "reached": step.reached}
    told = {name: said if isinstance(said, str) else figure.stored(said) for name, said in figures.items()}
    return {**asdict(step), **told, "history": [_point(row) for row in step.history]}


def _point(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of a history, with the task's score under one name as well."""
    scores = [value for name, value in row.items() if name not in ("epoch", "loss", "lr", *_WORDS)]
    return {**row, "score": scores[0] if scores else None}


def _whole(lane: Lane) -> bool:
    """Whether a lane reached its end, or only an export of its network failed."""
    return lane.written or not lane.error


def _measured(
    name: str, lane: Lane, columns: Sequence[Reading], readings: Readings, control: Lane | None
) -> dict[str, tuple[Reading, cells.SeedReading]]:
    """Every column of one lane, by its heading; what cannot be measured is noted as trouble."""
    found: dict[str, tuple[Reading, cells.SeedReading]] = {}
    if not lane.current or not _whole(lane):
        return found
    for reading in columns:
        try:
            found[column_of(reading)] = reading, _read(reading, lane, readings, control)
        except Refusal as refusal:
            readings.trouble.append(f"{name}: {refusal.message}")
    return found


def _read(reading: Reading, lane: Lane, readings: Readings, control: Lane | None) -> cells.SeedReading:
    """A column of one lane, and the same of its healthy network and of its control."""
    reading = replace(reading, subject=CURRENT)
    mine = readings.measure(reading, readings.network(lane.current), lane)  # type: ignore[arg-type]
    healthy = readings.measure(reading, readings.network(lane.healthy), lane) if lane.healthy else None
    beside = None
    if control is not None and control.current is not None:
        with suppress(Refusal):  # its own row says why
            beside = readings.measure(reading, readings.network(control.current), control)
    return cells.SeedReading(mine, healthy, beside, unchanged=lane.current == lane.healthy)


def _layers(network: Network, columns: Sequence[Reading], readings: Readings) -> list[dict[str, Any]]:
    """How each layer executes, and on what where a runtime of the columns does more than multiply dense weights."""
    default = _metric("latency")
    executed_by = [reading.metric for reading in columns if reading.metric.source in ("clock", "execution")]
    special: dict[str, tuple[LayerExecution, ...]] = {}
    try:
        if plain(network):
            return [asdict(row) for row in executed(network)]
        for metric in executed_by:
            with suppress(Refusal):  # a column that could not be measured has already been noted
                metric = readings.measurer.executed(metric, network)
                rows = readings.measurer.execution(metric, network)
                if not {row.executes for row in rows} <= USUAL:
                    special[_on(metric, default)] = rows
        rows = () if special else readings.measurer.execution(default, network)
        return [{**asdict(row), "on": on} for on, rows in (special or {"": rows}).items() for row in rows]
    except Refusal as refusal:  # a network that cannot be watched can still be trained and timed
        readings.trouble.append(refusal.message)
        return []


def _forms(lane: Lane, error: Diagnostic | None, readings: Readings) -> list[dict[str, Any]]:
    """Width, zeros and bits of every layer, beside healthy's."""
    if lane.current is None or (error and not lane.written):
        return []
    try:
        return layers.forms(lane.current, lane.healthy, readings.measurer.store, readings.network)
    except Refusal as refusal:  # a network that cannot be watched can still be trained and timed
        readings.trouble.append(f"{lane.name}: {layers.untold(refusal)}")
        return []


def _on(metric: Any, default: Any) -> str:
    """What a clock's network executes on: `cpu, bfloat16, batch 2`, `onnxruntime, cpu, batch 1`."""
    how = metric.deployment
    if metric.runtime == default.runtime:
        return str(how)
    return ", ".join(
        (
            spell(metric.runtime),
            how.device,
            *([how.precision] * (len(metric.runtime.precisions) > 1)),
            f"batch {how.batch}",
        )
    )


def trouble(diagnostic: Diagnostic) -> dict[str, Any]:
    """A diagnostic as the report shows it."""
    line = diagnostic.span.line if diagnostic.span and not diagnostic.span.typed else None
    return {"code": diagnostic.code, "message": diagnostic.message, "help": diagnostic.help, "line": line}


def _metric(name: str) -> Any:
    found = find("metric", name)
    if found is None:
        raise Refusal("RCP0906", f"there is no metric `{name}`", "`recipe list metric` lists the metrics")
    return found()
