"""What a control repeats of a step: the training that was really done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from recipelang.catalogue import spell
from recipelang.plan import Duration, Operation, Samples, Step, Training, lengthened, repeated
from recipelang.units import counted


def repeated_by_control(step: Step, record: Mapping[str, Any]) -> list[Step]:
    """What a control repeats of a step: with the updates that were really made; see `plan.repeated`.

    What goes wrong there points at the same statement.
    """
    training, made = step.operation.needs().training, []
    if training is not None:
        kept = tuple(companion for companion in training.companions if companion.ordinary)
        alone = replace(training, losses=(), companions=kept, course=None)
        made = [_as_long(alone, Duration(**done), step) for done in record.get("trained", ())]
    again = repeated(step.operation, tuple(made))
    return [Step(one, f"{one.verb} {_training_text(one)}".strip(), step.span, step.path, implied=True) for one in again]


def _as_long(training: Training, done: Duration, step: Step) -> Training:
    """A training as long as the one that was done; where that spent another network's FLOPs, its ramps too."""
    stretches = bool(step.operation.needs().spends)
    longer = lengthened(training, done.count / training.duration.count) if stretches else training
    return replace(longer, duration=done)


def on_data(samples: Samples) -> str:
    """What a control trains on in place of samples that a source made."""
    count = counted(samples.count, "sample") if samples.count else "all samples"
    return f"on {count} of `train` with their labels, in place of those that `{samples.source.name}` makes"


def _training_text(operation: Operation) -> str:
    needs = operation.needs()
    if needs.training is None:
        return ""
    length = f"{'from scratch ' * needs.scratch}for {needs.training.duration}"
    text = needs.training.text or spell(needs.training.optimizer)
    on = f" on train(samples={needs.trains_on.count})" if needs.trains_on and needs.trains_on.count else ""
    return f"{length} with {', '.join((*map(spell, needs.training.companions), text))}{on}"
