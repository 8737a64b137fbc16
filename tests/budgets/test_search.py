"""The search for the smallest number of units, compared with trying them all."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from recipelang.budgets.search import smallest
from recipelang.budgets.verdict import Verdict


def judge_with(costs: list[float], drops: list[float]) -> Any:
    """Networks are numbers of removed units; `until` is (bound on cost), `guard` (bound on drop)."""

    def judge(condition: Any, network: Any, surely: bool) -> Verdict:
        what, bound = condition
        value = (costs if what == "cost" else drops)[network]
        return Verdict(value < bound, f"{value}", value)

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
