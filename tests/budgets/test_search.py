"""The search for the smallest number of units, compared with trying them all."""

from __future__ import annotations

import weakref
from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from recipelang.budgets.search import smallest
from recipelang.budgets.verdict import Verdict
from recipelang.kinds import Figure
from recipelang.plan import Reading, Test


def judge_with(costs: list[float], drops: list[float]) -> Any:
    """Networks are numbers of removed units; `until` is (bound on cost), `guard` (bound on drop)."""

    def judge(condition: Any, network: Any, surely: bool) -> Verdict:
        what, bound = condition
        value = (costs if what == "cost" else drops)[network]
        return Verdict(value < bound, (Figure("k", value),))

    return judge


falling = st.lists(st.floats(0.01, 1), min_size=1, max_size=12).map(lambda xs: [1.0, *sorted(xs, reverse=True)])


@given(falling, st.floats(0, 1.2))
def test_bisection_finds_what_trying_all_finds(costs: list[float], bound: float) -> None:
    most = len(costs) - 1
    found = smallest(lambda k: k, most, ("cost", bound), None, judge_with(costs, []))  # type: ignore[arg-type, return-value]
    naive = next((k for k in range(0, most + 1) if costs[k] < bound), None)
    if naive is None:
        assert not found.met and found.count == most
    else:
        assert found.met and found.count == naive


@given(falling, st.floats(0, 1.2), st.data())
def test_the_guard_stops_before_the_first_unit_that_breaks_it(costs: list[float], bound: float, data: Any) -> None:
    most = len(costs) - 1
    drops = [0.0, *data.draw(st.lists(st.floats(0, 0.1), min_size=most, max_size=most))]
    judge = judge_with(costs, drops)
    found = smallest(lambda k: k, most, ("cost", bound), ("drop", 0.05), judge)  # type: ignore[arg-type, return-value]
    allowed = next((k - 1 for k in range(1, most + 1) if drops[k] >= 0.05), most)
    assert found.count <= allowed
    assert found.met == (costs[found.count] < bound)
    if not found.met:
        assert found.count == allowed, "out of reach is said only at the far end of what the guard allows"


@given(st.lists(st.floats(0, 0.1), min_size=1, max_size=10))
def test_a_guard_alone_takes_as_many_as_it_allows(steps: list[float]) -> None:
    drops = [0.0, *steps]
    found = smallest(lambda k: k, len(steps), None, ("drop", 0.05), judge_with([], drops))  # type: ignore[arg-type, return-value]
    broken = [k for k in range(1, len(drops)) if drops[k] >= 0.05]
    assert found.count == (broken[0] - 1 if broken else len(steps))
    assert found.met or found.guarded


CLOCK = Test(Reading(SimpleNamespace(source="clock"), form="ratio"), "<", 0.0)


@given(st.lists(st.floats(0.01, 1), min_size=1, max_size=60), st.floats(0, 1.2))
def test_on_stairs_no_number_near_the_solution_is_overlooked(costs: list[float], bound: float) -> None:
    """Latency falls in stairs that may rise again: nothing smaller near what bisection finds meets the budget."""
    costs = [1.0, *costs]
    most = len(costs) - 1
    judge: Any = lambda condition, k, surely: Verdict(costs[k] < bound, (Figure("k", costs[k]),))  # noqa: E731
    found = smallest(lambda k: k, most, CLOCK, None, judge, many=True)  # type: ignore[arg-type, return-value]
    assert found.met == (costs[most] < bound)
    if found.met:
        assert (
            costs[found.count] < bound
            and found.verdict is not None
            and found.verdict.figures[0].value == costs[found.count]
        )
    fine = [1 - k / (most + 1) + 0.3 * (k % 3 == 1) / (most + 1) for k in range(most + 1)]  # stairs of three
    judge = lambda condition, k, surely: Verdict(fine[k] < bound, (Figure("k", fine[k]),))  # noqa: E731
    found = smallest(lambda k: k, most, CLOCK, None, judge, many=True)  # type: ignore[arg-type, return-value]
    if found.met:
        assert found.count == next(k for k in range(most + 1) if fine[k] < bound)


def test_a_computed_cost_is_bisected_and_networks_are_let_go() -> None:
    class Made:
        def __init__(self, k: int) -> None:
            self.k = k
            alive.add(self)

    alive: weakref.WeakSet[Made] = weakref.WeakSet()
    most_alive, asked = 0, []

    def judge(condition: Any, network: Any, surely: bool) -> Verdict:
        nonlocal most_alive
        most_alive = max(most_alive, len(alive))
        asked.append(network.k)
        return Verdict(network.k >= 700, (Figure("k", network.k),))

    flops = Test(Reading(SimpleNamespace(source="structure"), form="ratio"), "<", 0.5)
    found = smallest(Made, 1000, flops, None, judge, many=True)  # type: ignore[arg-type]
    assert found.count == 700 and len(asked) <= 12 and most_alive == 1


@given(st.integers(1, 500), st.integers(0, 500))
def test_a_guard_on_many_steps_is_checked_now_and_then_and_ends_where_it_fails(count: int, last: int) -> None:
    asked = []

    def judge(condition: Any, k: Any, surely: bool) -> Verdict:
        asked.append(k)
        return Verdict(k <= last, (Figure("k", k),))

    found = smallest(lambda k: k, count, None, ("drop", 0), judge, many=True)  # type: ignore[arg-type, return-value]
    assert found.count == min(last, count) and found.guarded == (last < count)
    assert len(asked) <= 16 + 5
