"""Controls: the healthy network with a variant's training and without its surgery.

Tuning alone changes accuracy. A pruned and tuned network can be compared fairly only with the healthy network
after the same tuning: same updates, same batches, same optimizer, the task's own loss.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from recipelang.errors import MachineFailed, Refusal, StepFailed
from recipelang.plan import canonical
from recipelang.run.lanes import Lane, by_variant
from recipelang.run.retraining import on_data
from recipelang.run.worker import Worker
from recipelang.units import listed


@dataclass
class Controls:
    """Trains controls, each once: variants with equal training share one.

    Attributes:
        worker: does the training.
        notes: what the report says about them.
    """

    worker: Worker
    notes: list[str] = field(default_factory=list)
    _made: dict[tuple[str, str, int], Lane] = field(default_factory=dict)

    def of(self, lane: Lane) -> Lane:
        """The control of a lane; if nothing was trained after `healthy`, it is `healthy` itself.

        Raises:
            Refusal: RCP0908: there is no `healthy` yet.
            StepFailed: its training failed.
        """
        if lane.healthy is None:
            raise Refusal("RCP0908", "there is no healthy network to train a control from", "write `model …` above")
        key = (lane.healthy.content, training_of(lane), lane.seed)
        if key not in self._made:
            control = lane.fork(path=("control",), parameters={}, current=lane.healthy, origin=None, chosen=False)
            control.control_of = (lane.name,)
            control.recovered, control.named, control.exports = None, {}, []
            control.steps = list(lane.steps[: lane.shared])
            if lane.trace:
                self.worker.progress.say(f"control of {lane.name}")
            for step in lane.trace:
                self.worker.step(step, control)
            self._made[key] = control
        return self._made[key]

    def all_of(self, lanes: Sequence[Lane]) -> list[Lane]:
        """The controls of all variants that did not fail; one of several is named after the variants that share it."""
        groups: dict[tuple[str, ...], dict[str, list[Lane]]] = {}
        for name, seeds in by_variant(list(lanes)).items():
            if any(lane.error for lane in seeds):
                continue
            if not any(lane.trace for lane in seeds):
                self.notes.append(f"{name} trains nothing after healthy: its control is healthy itself")
                continue
            groups.setdefault(tuple(training_of(lane) for lane in seeds), {})[name] = seeds
        made = []
        for variants in groups.values():
            names = tuple(variants)
            path = ("control",) if len(groups) == 1 else (f"control of {listed(names)}",)
            first = variants[names[0]]
            self.notes += [f"the control of {listed(names)} trains {told}" for told in _in_place(first[0])]
            made += [self._shown(lane).fork(path=path, control_of=names) for lane in first]
        return made

    def _shown(self, lane: Lane) -> Lane:
        """The control of a lane for the report; one whose training failed carries the error."""
        try:
            return self.of(lane)
        except MachineFailed:
            raise
        except StepFailed as failed:
            return lane.fork(current=None, steps=[], exports=[], origin=None, error=failed.diagnostics[0])


def _in_place(lane: Lane) -> list[str]:
    """What the control of a lane trains on in place of samples that were made."""
    found = [samples for step in lane.trace if (samples := step.operation.needs().trains_on) and samples.source]
    return list(dict.fromkeys(map(on_data, found)))


def training_of(lane: Lane) -> str:
    """The training of a lane since `healthy`, as text: equal if two lanes can share a control."""
    return json.dumps([canonical(step.operation) for step in lane.trace], sort_keys=True)
