"""The search of an allocation that has to try: on parts within a round of a removal, on the weights of a pattern."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from recipelang.budgets.bench import Cutter, Told, Workbench
from recipelang.budgets.held import Division
from recipelang.budgets.joint import JointRemoval
from recipelang.kinds import Queue, RemovalStep
from recipelang.plan import Condition
from recipelang.stages.context import Context
from recipelang.verbs.prune import Prune
from recipelang.verbs.sparsify import Sparsify


def explored(
    operation: Prune,
    context: Context,
    turn: int,
    until: Condition | None,
    division: Division,
    queues: Sequence[Queue],
    together: JointRemoval,
) -> tuple[Sequence[RemovalStep], JointRemoval, Sequence[Told]]:
    """The steps that an allocation finds, what removes them (from values that it may have trained), and what it says.

    Args:
        turn, until: the round, and its budget.
        division: of the data.
        queues: of all units, of the network that `together` removes them from.
    """
    bench = replace(
        bench_of(operation, context, division, queues, together),
        until=until,
        optimizer=operation.tuner or (operation.training.optimizer if operation.training else None),
        seed=context.seed + turn - 1,
        name="-".join([str(turn), *(one.unit.name for one in together.removals)]),
    )
    with bench:
        steps = operation.allocation.explore(queues, bench)
        bench.tell_clocks()
    removal = together if bench.whole is together.network else together.on(bench.whole)
    return steps, removal, bench.told


def bench_of(
    operation: Prune | Sparsify, context: Context, division: Division, queues: Sequence[Queue], together: Cutter
) -> Workbench:
    """What the statement's allocation may try, without a budget."""
    return Workbench(
        queues=queues,
        together=together,
        until=None,
        read=context.read,
        judge=context.judge,
        glance=context.glance,
        division=division,
        optimizer=operation.training.optimizer if operation.training else None,
        seed=context.seed,
        folder=context.folder,
        allocation=operation.allocation,
        **context.working,
    )
