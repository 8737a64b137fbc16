"""Train the network to agree with its teachers: named states of this recipe, or other models."""

from __future__ import annotations

from dataclasses import replace

from recipelang.stages.context import Context, Outcome
from recipelang.stages.train import tune
from recipelang.training.teachers import Teacher, translated
from recipelang.training.terms import compares_outputs
from recipelang.verbs.distill import Distill


def run(operation: Distill, context: Context) -> Outcome:
    """Distill into `context.network`; masks stay.

    Raises:
        Refusal: RCP0914: a teacher does not know a class of the network, or reads other channels.
    """
    outputs = compares_outputs(operation.training)
    teachers, notes = [], []
    for name in operation.teachers:
        teacher, note = translated(context.state(name), context.network, name, outputs=outputs)
        teachers.append(Teacher(name, teacher))
        notes.append(note)
    outcome = tune(context, operation.training, operation.samples, tuple(teachers))
    return replace(outcome, note="; ".join(filter(None, (outcome.note, *notes))))
