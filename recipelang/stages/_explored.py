"""The search of an allocation that has to try, within a round of a removal."""

from __future__ import annotations

from collections.abc import Sequence

from recipelang.budgets.bench import Told, Workbench
from recipelang.budgets.held import Division
from recipelang.budgets.joint import JointRemoval
from recipelang.kinds import Queue, RemovalStep
from recipelang.plan import Condition
from recipelang.stages.context import Context
from recipelang.verbs.prune import Prune


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
    training = operation.training
    bench = Workbench(
        queues=queues,
        together=together,
        until=until,
        read=context.read,
        judge=context.judge,
        division=division,
        task=context.task,
        optimizer=operation.tuner or (training.optimizer if training else None),
        seed=context.seed + turn - 1,
        device=context.device,
        threads=context.threads,
        folder=context.folder,
        progress=context.progress,
        smoke=context.smoke,
        allocation=operation.allocation,
        name="-".join([str(turn), *(one.unit.name for one in together.removals)]),
        glance=context.glance,
    )
    with bench:
        steps = operation.allocation.explore(queues, bench)
        bench.tell_clocks()
    removal = together if bench.whole is together.network else together.on(bench.whole)
    return steps, removal, bench.told
