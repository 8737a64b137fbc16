"""The verbs that change no network: they open data, note columns, name states, and request exports."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeAlias

from recipelang.catalogue import spell
from recipelang.errors import Refusal
from recipelang.kinds import Dataset, Task
from recipelang.plan import Step
from recipelang.run.evaluate import Readings
from recipelang.run.lanes import Lane
from recipelang.units import counted


class Desk(Protocol):
    """What these verbs use of a run: the opened data sets, the task, and what reads metrics."""

    datasets: dict[str, Dataset]
    task: Task | None
    readings: Readings


Book: TypeAlias = Callable[[Step, Lane, Desk], Mapping[str, Any]]


def _data(step: Step, lane: Lane, desk: Desk) -> Mapping[str, Any]:
    data = desk.datasets[step.operation.name]  # opened before the walk: `Worker.open_data`
    sizes = ", ".join(f"{_size(data, split)} {split}" for split in ("train", "val", "test"))
    classes = counted(len(data.classes), "class", "classes")
    return {"note": "; ".join((f"{classes}: {sizes}", *getattr(data, "notes", ())))}


def _size(data: Dataset, split: str) -> int:
    """Number of images of a split; an empty one is refused by the step that needs its images."""
    try:
        return data.size(split)
    except Refusal:
        return 0


def _task(step: Step, lane: Lane, desk: Desk) -> Mapping[str, Any]:
    desk.task = step.operation.method
    return {}


def _measure(step: Step, lane: Lane, desk: Desk) -> Mapping[str, Any]:
    lane.columns += [reading for reading in step.operation.readings if reading not in lane.columns]
    if lane.current is None:
        return {}
    values = {}
    for reading in step.operation.readings:
        value = desk.readings.value(reading, lane)
        values[spell(reading.metric)] = {"value": value.value, "unit": reading.metric.unit}
    return {"metrics": values}


def _keep(step: Step, lane: Lane, desk: Desk) -> Mapping[str, Any]:
    if lane.current is None:
        raise Refusal("RCP0908", "there is no network to keep yet", "write `model …` above")
    lane.named[step.operation.name] = lane.current
    return {}


def _start(step: Step, lane: Lane, desk: Desk) -> Mapping[str, Any]:
    state = lane.state(step.operation.state)
    if state is None:
        raise Refusal("RCP0908", f"there is no state `{step.operation.state}` here", "`keep as NAME` keeps one")
    lane.current = state
    return {}


def _export(step: Step, lane: Lane, desk: Desk) -> Mapping[str, Any]:
    if lane.current is None:
        raise Refusal("RCP0908", "there is no network to export yet", "write `model …` above")
    lane.exports.append((step, lane.current))
    return {}


def _report(step: Step, lane: Lane, desk: Desk) -> Mapping[str, Any]:
    return {}


BOOKS: Mapping[str, Book] = {
    "data": _data,
    "task": _task,
    "measure": _measure,
    "keep": _keep,
    "start": _start,
    "export": _export,
    "report": _report,
}
