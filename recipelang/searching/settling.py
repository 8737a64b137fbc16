"""From what a search proposes to steps that surely meet the budget, where a proposal is a little too large for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch

from recipelang.searching.bilinear import BilinearCost, kept_shares
from recipelang.searching.bisection import bisected

if TYPE_CHECKING:
    from recipelang.kinds import Bench, Queue

#: how many proposals are measured before the first of them is made smaller
LOOKS = 3


def settled(
    queues: Sequence[Queue], bench: Bench, proposals: Sequence[Sequence[int]], order: Sequence[int]
) -> list[int]:
    """The first proposal that surely meets the budget; else the first one with as few more steps as make it do so.

    Args:
        proposals: numbers of steps of each queue, the best first.
        order: the numbers of the queues that lose one step more each, after the first proposal.

    Returns:
        numbers of steps; where nothing meets the budget all of them, or the first proposal if its costs do.
    """
    for taken in proposals[:LOOKS]:
        if bench.met(taken):
            return list(taken)
    found = enough(list(proposals[0]), order, bench.met)
    if bench.measured(proposals[0]) <= 1 and not bench.met(found):
        return list(proposals[0])  # what fails is not a cost, so taking more does not help
    return found


def enough(taken: list[int], order: Sequence[int], met: Callable[[Sequence[int]], bool]) -> list[int]:
    """The numbers of steps with as few more, in this order, as make them meet a budget; with all where none do.

    Doubling finds how many, and bisection the fewest: `met` is asked of about 2·log₂ of them.

    Args:
        order: the numbers of the queues that lose one step more each.
        met: whether numbers of steps meet the budget; that they did not without more is known.
    """

    def with_more(count: int) -> list[int]:
        found = list(taken)
        for queue in order[:count]:
            found[queue] += 1
        return found

    low, high = 0, 1
    while high < len(order) and not met(with_more(high)):
        low, high = high, 2 * high
    return with_more(bisected(lambda count: met(with_more(count)), low, min(high, len(order))))


def widest_first(queues: Sequence[Queue], taken: Sequence[int]) -> list[int]:
    """All further steps, by the number of their queue: always of the group that keeps the largest share."""
    shares, counts, order = [kept_shares(queue) for queue in queues], list(taken), []
    while open := [q for q, queue in enumerate(queues) if counts[q] < len(queue.steps)]:
        widest = max(open, key=lambda q: (shares[q][counts[q]], -q))
        counts[widest] += 1
        order.append(widest)
    return order


def cheapest_first(
    queues: Sequence[Queue], taken: Sequence[int], norms: Sequence[Sequence[float]], cost: BilinearCost
) -> list[int]:
    """All further steps, by the number of their queue: always the one that loses least for what it wins of the cost.

    Args:
        norms: what each part of each group holds.
    """
    shares, counts, order = [kept_shares(queue) for queue in queues], list(taken), []
    while open := [q for q, queue in enumerate(queues) if counts[q] < len(queue.steps)]:
        kept = torch.tensor([each[k] for each, k in zip(shares, counts, strict=True)], dtype=torch.float64)
        slope = cost.slope(kept).tolist()

        def price(q: int, slope: Sequence[float] = slope) -> tuple[float, int]:
            lost = sum(norms[q][part] for part in queues[q].steps[counts[q]].parts)
            won = slope[q] * (shares[q][counts[q]] - shares[q][counts[q] + 1])
            return (lost / won if won > 0 else float("inf")), q

        best = min(open, key=price)
        counts[best] += 1
        order.append(best)
    return order
