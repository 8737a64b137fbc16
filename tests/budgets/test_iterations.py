"""One-shot against iterative ranking: Spearman's correlation, against scipy and a simulation written naively."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from recipelang.budgets.iterations import Iterations
from recipelang.kinds import Group, Queue


def queue(name: str, scores: list[float]) -> Queue:
    return Queue(Group(name, len(scores)), tuple(scores), ())


@given(st.integers(0, 10**6), st.integers(2, 5), st.lists(st.integers(1, 8), min_size=2, max_size=4), st.booleans())
def test_it_is_the_correlation_of_what_rounds_did(seed: int, rounds: int, sizes: list[int], tied: bool) -> None:
    """Parts keep their identity although those that stay are numbered again after each round."""
    draw = np.random.default_rng(seed)
    score = lambda: float(draw.integers(0, 3)) if tied else float(draw.random())  # noqa: E731
    found = Iterations()
    standing = [(name, n) for name, size in enumerate(sizes) for n in range(size)]
    first, order = dict.fromkeys(standing, math.nan), dict.fromkeys(standing, (math.inf, math.nan))
    for turn in range(1, rounds + 1):
        scores = {part: score() for part in standing}
        first = scores if turn == 1 else first
        leave = sorted(standing, key=scores.__getitem__)[: draw.integers(0, 3)]
        order |= {part: (turn if part in leave else math.inf, scores[part]) for part in standing}
        groups = {name: [part for part in standing if part[0] == name] for name in range(len(sizes))}
        found.add(
            [queue(str(name), [scores[part] for part in parts]) for name, parts in groups.items() if parts],
            {str(name): [n for n, part in enumerate(parts) if part in leave] for name, parts in groups.items()},
        )
        standing = [part for part in standing if part not in leave]
    places = sorted(set(order.values()))
    mine, theirs = [*first.values()], [places.index(order[part]) for part in first]
    if len(mine) < 3 or len(set(mine)) == 1 or len(set(theirs)) == 1:
        assert found.correlation is None
    else:
        assert found.correlation == pytest.approx(spearmanr(mine, theirs).statistic)


def test_the_same_ranking_in_every_round_agrees_wholly() -> None:
    found = Iterations()
    found.add([queue("a", [4, 1, 3, 2]), queue("b", [0.5])], {"a": [1]})
    assert found.correlation is None, "one round is one-shot"
    found.add([queue("a", [40, 30, 20]), queue("b", [5])], {"b": [0]})
    assert found.correlation == pytest.approx(spearmanr([4, 1, 3, 2, 0.5], [4, 0, 3, 2, 1]).statistic)
    same = Iterations()
    same.add([queue("a", [4, 1, 3, 2])], {"a": [1]})
    same.add([queue("a", [4, 3, 2])], {"a": [2]})
    assert same.correlation == pytest.approx(1)


def test_where_groups_are_not_compared_the_order_within_each_counts() -> None:
    """Of `b` alone the order is turned round, and it has 3 of 7 parts."""
    found = Iterations(compares=False)
    found.add([queue("a", [1, 2, 3, 4]), queue("b", [10, 20, 30])], {})
    found.add([queue("a", [100, 200, 300, 400]), queue("b", [3, 2, 1])], {})
    assert found.correlation == pytest.approx((4 * 1 + 3 * -1) / 7)


def test_groups_that_change_are_left_out() -> None:
    found = Iterations()
    found.add([queue("a", [1, 2, 3, 4]), queue("b", [9, 8])], {})
    found.add([queue("a", [1, 2, 3, 4]), queue("b", [1, 1, 1]), queue("new", [0, 0])], {})
    assert found.correlation == pytest.approx(1) and {name for name, _ in found.once} == {"a"}
    found.forget("a")
    assert found.correlation is None
