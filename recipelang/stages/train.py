"""Train the network with the task's own loss, from its current weights or from scratch."""

from __future__ import annotations

from dataclasses import replace

from recipelang.kinds import PARTS
from recipelang.plan import Duration, Finetune, Samples, Training, lengthened
from recipelang.stages._leaving import removed
from recipelang.stages.context import Context, Foresight, Known, Outcome
from recipelang.surgery.artifact import fresh
from recipelang.surgery.network import Network
from recipelang.training.loop import fit
from recipelang.training.positions import added, pairings, shown, summary
from recipelang.training.spending import cost, spent
from recipelang.training.teachers import Teacher
from recipelang.units import listed
from recipelang.verbs.train import Train


def run(operation: Train, context: Context) -> Outcome:
    """Train `context.network`; from scratch, its architecture starts from new seeded random weights.

    Raises:
        Refusal: RCP0730: it spends the FLOPs of another network, and those of one of the two cannot be counted.
    """
    context = started(context, operation.scratch)
    needs = operation.needs()
    if not needs.spends:
        return tune(context, operation.training, operation.samples)
    part = cost(context.network, context.state(needs.spends))
    outcome = tune(context, lengthened(operation.training, 1 / part), operation.samples)
    return replace(outcome, note="; ".join(filter(None, (spent(operation.training, part), outcome.note))))


def started(context: Context, scratch: bool) -> Context:
    """The context with the network that a training starts from: the current one, or its architecture with new seeded
    random weights."""
    return replace(context, network=fresh(context.network, context.seed)) if scratch else context


def foresee(operation: Train | Finetune, network: Network, known: Known) -> Foresight:
    """Which positions its losses look at.

    Raises:
        Refusal: RCP0821 … RCP0823: they find none.
    """
    return Foresight(shown(operation.training, pairings(operation.training, network, ()), ()))


def tune(context: Context, training: Training, samples: Samples | None, teachers: tuple[Teacher, ...] = ()) -> Outcome:
    """The training loop on the current network, shared by `train`, `finetune` and `distill`; parts that a companion has
    decided to remove are gone afterwards."""
    looked = pairings(training, context.network, teachers)
    _, record = fit(
        context.network,
        context.data,
        training,
        teachers=teachers,
        seed=context.seed,
        samples=samples.count if samples else None,
        checkpoint=context.folder / "checkpoint",
        validate=True,
        **context.working,
    )
    removing = [companion.name for companion in training.companions if companion.leaves == PARTS]
    left = removed(record.left, listed(removing))
    return Outcome(
        left.network,
        reached=(*left.reached, *record.figures),
        note="; ".join(filter(None, (*summary(training, looked, teachers), left.note))),
        edits=(*map(str, added(training, context.network)), *left.edits),
        ranking=left.ranking,
        history=record.history,
        unvalidated=record.unvalidated,
        training=(replace(training, duration=Duration(record.steps, "steps")) if record.cut else training,),
        beside=record.beside,
    )
