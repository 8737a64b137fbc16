"""Proposals that are a little too large lose as few more steps as it takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from chains import bare_queue
from hypothesis import given
from hypothesis import strategies as st

from recipelang.searching.bilinear import BilinearCost
from recipelang.searching.settling import cheapest_first, enough, settled, widest_first

QUEUES = [bare_queue(4, "a"), bare_queue(8, "b")]
ORDER = widest_first(QUEUES, [0, 0])


class Scales:
    """A bench whose budget is a number of parts that may stay, and, where it asks for a quality, never met."""

    def __init__(self, most: int, good: bool = True) -> None:
        self.most, self.good, self.asked = most, good, 0

    def measured(self, taken: Sequence[int]) -> float:
        return (12 - sum(taken)) / max(self.most, 0.5)

    def met(self, taken: Sequence[int]) -> bool:
        self.asked += 1
        return self.good and self.measured(taken) <= 1


def test_the_widest_group_goes_first_and_every_step_is_there_once() -> None:
    order = widest_first(QUEUES, [0, 0])
    assert order[:4] == [0, 1, 1, 0]
    assert order.count(0) == 3 and order.count(1) == 7


@given(st.integers(0, 11))
def test_the_fewest_more_steps_are_found(most: int) -> None:
    scales = Scales(most)
    order = widest_first(QUEUES, [1, 0])
    found = enough([1, 0], order, scales.met)
    needed = [k for k in range(1, len(order) + 1) if 11 - k <= most]
    assert sum(found) - 1 == (needed[0] if needed else len(order))
    assert scales.asked <= 8


def test_the_first_proposal_that_holds_is_taken() -> None:
    assert settled(QUEUES, Scales(9), [[0, 0], [1, 1], [1, 2], [3, 7]], ORDER) == [1, 2]  # type: ignore[arg-type]


def test_if_none_of_a_few_holds_the_first_becomes_smaller() -> None:
    order = widest_first(QUEUES, [1, 1])
    found = settled(QUEUES, Scales(8), [[1, 1], [0, 1], [1, 0], [3, 7]], order)  # type: ignore[arg-type]
    assert sum(found) == 4 and found[0] >= 1 and found[1] >= 1


def test_where_nothing_meets_the_budget_everything_is_taken() -> None:
    assert settled(QUEUES, Scales(1), [[1, 1]], widest_first(QUEUES, [1, 1])) == [3, 7]  # type: ignore[arg-type]


def test_where_a_quality_is_missing_no_more_is_taken() -> None:
    """`until flops < 0.5 and top1 > 90%`: to remove more does not raise an accuracy."""
    found = settled(QUEUES, Scales(11, good=False), [[1, 1]], widest_first(QUEUES, [1, 1]))  # type: ignore[arg-type]
    assert found == [1, 1]


@given(st.data())
def test_the_cheapest_step_is_the_one_that_loses_least_for_what_it_wins(data: Any) -> None:
    """Naively: prices from differences of the cost itself, which has no product of a group with itself."""
    number = lambda low: st.floats(low, 2)  # noqa: E731
    cost = BilinearCost(((0, 1),), 0.1, (data.draw(number(0.1)), data.draw(number(0.1))), (data.draw(number(0.1)),))
    norms = [data.draw(st.lists(number(0.0), min_size=size, max_size=size)) for size in (4, 8)]
    start = [data.draw(st.integers(0, 3)), data.draw(st.integers(0, 7))]
    order, counts = cheapest_first(QUEUES, start, norms, cost), list(start)
    for chosen in order:
        prices = []
        for q, queue in enumerate(QUEUES):
            if counts[q] == len(queue.steps):
                prices.append(float("inf"))
                continue
            shares = [[1 - n / 4 for n in range(5)], [1 - n / 8 for n in range(9)]]
            now = [shares[k][count] for k, count in enumerate(counts)]
            after = [shares[k][count + (k == q)] for k, count in enumerate(counts)]
            won = float(cost(torch.tensor(now).double()) - cost(torch.tensor(after).double()))
            prices.append(sum(norms[q][part] for part in queue.steps[counts[q]].parts) / won)
        assert prices[chosen] <= min(prices) * (1 + 1e-6) + 1e-12
        counts[chosen] += 1
    assert counts == [len(queue.steps) for queue in QUEUES]
