"""How `sparsify` divides its target among weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from recipelang.budgets.bench import Told
from recipelang.budgets.held import Division
from recipelang.scoring.dividing import COARSE, Dividing, Masked, queues_of, reached, shares
from recipelang.stages._explored import bench_of
from recipelang.stages.context import Context
from recipelang.verbs.sparsify import Sparsify


def divided(
    operation: Sparsify, context: Context, division: Division | None, scores: Mapping[str, Tensor]
) -> tuple[Dividing | None, Sequence[Told]]:
    """How the statement's target is divided among the weights, and what the allocation says of its search.

    Args:
        operation: whose pattern has a target.
        context: with the network whose weights they are.
        division: of the data, for an allocation that tries.
        scores: weight → scores of its shape.

    Returns:
        None for the same share everywhere.
    """
    allocation, pattern = operation.allocation, operation.pattern
    if allocation is None:
        return None, ()
    if division is None:
        again = allocation if allocation.compares else None
        return Dividing(pattern.share, shares(allocation, pattern, scores, pattern.share), again), ()
    queues = queues_of(pattern, scores, COARSE)
    bench = bench_of(operation, context, division, queues, Masked(context.network, pattern, scores))
    with bench:
        order = allocation.explore(queues, bench)
    return Dividing(pattern.share, reached(order, queues, pattern.share)), bench.told
