"""Controls: the healthy network given a variant's training and none of its surgery.

Tuning alone moves accuracy. A pruned and tuned network is fairly held only against the healthy network with
the same tuning: same updates, same batches, same optimizer, the task's own loss.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from recipelang.errors import Refusal
from recipelang.plan import canonical
from recipelang.run.lanes import Lane, by_variant
from recipelang.run.worker import Worker


@dataclass
class Controls:
    """Trains controls, each once: variants whose training is equal share one.

    Attributes:
        worker: does the training.
        notes: what the report should say about them.
    """

    worker: Worker
    notes: list[str] = field(default_factory=list)
    _made: dict[tuple[str, str, int], Lane] = field(default_factory=dict)

    def of(self, lane: Lane) -> Lane:
        """The control of a lane.

        Raises:
            Refusal: RCP0913: nothing trains after healthy, so there is nothing to control for.
            StepFailed: its training failed.
        """
        if lane.healthy is None or not lane.trace:
            raise Refusal(
                "RCP0913", f"`{lane.name}` trains nothing after `healthy`, so it has no control", "leave `control` out"
            )
        key = (lane.healthy.content, self._trace(lane), lane.seed)
        if key not in self._made:
            control = lane.fork(path=("control",), parameters={}, current=lane.healthy, origin=None, chosen=False)
            control.recovered, control.restricted, control.named, control.exports = None, "", {}, []
            control.steps, control.trace = list(lane.steps[: lane.shared]), []
            self.worker.progress.say(f"control of {lane.name}")
            for operation in lane.trace:
                self.worker.tune(control, operation)
            self._made[key] = control
        return self._made[key]

    def all_of(self, lanes: Sequence[Lane]) -> list[Lane]:
        """The controls of all lanes that stand, named after the variants that share them where there are several."""
        groups: dict[str, list[Lane]] = {}
        for lane in lanes:
            if lane.error:
                continue
            if not lane.trace:
                self.notes.append(f"{lane.name} trains nothing after healthy: its control is healthy itself")
                continue
            groups.setdefault(self._trace(lane), []).append(lane)
        made = []
        for group in groups.values():
            names = tuple(by_variant(group))
            path = ("control",) if len(groups) == 1 else (f"control of {' and '.join(names)}",)
            seen: set[int] = set()
            for lane in group:
                control = self.of(lane)
                if id(control) in seen:
                    continue
                seen.add(id(control))
                made.append(control.fork(path=path, control_of=names))
        return made

    def _trace(self, lane: Lane) -> str:
        return json.dumps([canonical(operation) for operation in lane.trace], sort_keys=True)
