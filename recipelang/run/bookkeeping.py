"""The effects that leave no new network: they open data, note columns, name states, and request exports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from recipelang.catalogue import spell
from recipelang.errors import Refusal
from recipelang.kinds import Dataset, names_of
from recipelang.plan import Named, Opened, Returned, Shown, Step, Written
from recipelang.run.evaluate import Readings
from recipelang.run.lanes import Exported, Lane
from recipelang.units import counted


class Desk(Protocol):
    """What these effects use of a run: the opened data sets, and what reads metrics."""

    datasets: dict[str, Dataset]
    readings: Readings


def note(step: Step, lane: Lane, desk: Desk) -> Mapping[str, Any]:
    """Carry out the effect of a step that leaves no new network; what its record says.

    Raises:
        Refusal: RCP0908: there is no network yet, or no such state.
    """
    match step.operation.needs().writes:
        case Opened(name=name):  # opened before the walk: `Worker.open_data`
            return {"note": _described(desk.datasets[name])}
        case Shown(readings=readings):
            lane.columns += [reading for reading in readings if reading not in lane.columns]
            if lane.current is not None:
                values = {spell(r.metric): (desk.readings.value(r, lane).value, r.metric.unit) for r in readings}
                return {"metrics": {name: {"value": v, "unit": unit} for name, (v, unit) in values.items()}}
        case Named(name=name):
            if lane.current is None:
                raise Refusal("RCP0908", "there is no network to keep yet", "write `model …` above")
            lane.named[name] = lane.current
        case Returned(state=name):
            state = lane.state(name)
            if state is None:
                raise Refusal("RCP0908", f"there is no state `{name}` here", "`keep as NAME` keeps one")
            lane.current = state
        case Written() as written:
            if lane.current is None:
                raise Refusal("RCP0908", "there is no network to export yet", "write `model …` above")
            recovered = lane.recovered if lane.current.restricted else None  # it may have gone back to before
            lane.exports.append(Exported(step, written, lane.current, recovered))
    return {}


def _described(data: Dataset) -> str:
    sizes = ", ".join(f"{_size(data, split)} {split}" for split in ("train", "val", "test"))
    names = names_of(data)
    words = ("label", "labels") if data.target == "labels" else ("class", "classes")
    sizes = f"{counted(len(names), *words)}: {sizes}" if names is not None else sizes
    return "; ".join((sizes, *getattr(data, "notes", ())))


def _size(data: Dataset, split: str) -> int:
    """Number of images of a split; an empty one is refused by the step that needs its images."""
    try:
        return data.size(split)
    except Refusal:
        return 0
