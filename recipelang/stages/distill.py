"""Train the network to agree with its teachers: named states of this recipe, or other models."""

from __future__ import annotations

from dataclasses import replace

from recipelang.stages.context import Context, Foresight, Known, Outcome
from recipelang.stages.train import tune
from recipelang.surgery.network import Network
from recipelang.training.positions import added, compares_outputs, pairings, shown
from recipelang.training.teachers import Teacher, all_translated
from recipelang.verbs.distill import Distill


def run(operation: Distill, context: Context) -> Outcome:
    """Distill into `context.network`; masks stay.

    Raises:
        Refusal: RCP0914: a teacher does not know a class of the network, or reads other channels; RCP0821 … RCP0823: a
            loss finds nothing to compare.
    """
    named = [Teacher(name, context.state(name)) for name in operation.teachers]
    teachers, notes = all_translated(named, context.network, outputs=compares_outputs(operation.training))
    outcome = tune(context, operation.training, operation.samples, teachers)
    return replace(outcome, note="; ".join(filter(None, (*notes, outcome.note))))


def foresee(operation: Distill, network: Network, known: Known) -> Foresight:
    """Which positions of the network and its teachers are compared.

    Raises:
        Refusal: as of `run`, as far as the teachers are known.
    """
    there = [Teacher(name, teacher) for name in operation.teachers if (teacher := known(name))]
    if len(there) < len(operation.teachers):
        return Foresight()
    teachers, _ = all_translated(there, network, outputs=compares_outputs(operation.training))
    edits = map(str, added(operation.training, network))
    return Foresight((*edits, *shown(operation.training, pairings(operation.training, network, teachers), teachers)))
