"""Every best trade of price and harm, by brute force over all assignments."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recipelang.searching.knapsack import trades

numbers = st.integers(0, 20).map(float)
tables = st.lists(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=4), min_size=1, max_size=5)


def brute(items: list[list[tuple[float, float]]]) -> list[tuple[float, float]]:
    """The undominated sums, the highest price first."""
    sums = {
        (sum(one[0] for one in taken), sum(one[1] for one in taken)) for taken in itertools.product(*items)
    }  # fmt: skip
    best = [
        (price, harm)
        for price, harm in sums
        if not any(p <= price and h <= harm and (p, h) != (price, harm) for p, h in sums)
    ]
    return sorted(best, reverse=True)


def summed(items: list[list[tuple[float, float]]], options: tuple[int, ...]) -> tuple[float, float]:
    taken = [item[option] for item, option in zip(items, options, strict=True)]
    return sum(one[0] for one in taken), sum(one[1] for one in taken)


def solved(items: list[list[tuple[float, float]]], most: int = 4096) -> list[tuple[int, ...]]:
    return trades([[p for p, _ in item] for item in items], [[h for _, h in item] for item in items], most)


@given(tables)
def test_they_are_the_undominated_sums_of_all_assignments(items: list[list[tuple[float, float]]]) -> None:
    assert [summed(items, options) for options in solved(items)] == brute(items)


@given(tables, st.floats(0, 1))
def test_the_first_one_within_a_budget_is_the_least_harmful_of_all(
    items: list[list[tuple[float, float]]], part: float
) -> None:
    every = [summed(items, options) for options in itertools.product(*[range(len(item)) for item in items])]
    low, high = min(price for price, _ in every), max(price for price, _ in every)
    budget = low + part * (high - low)
    found = next(s for s in (summed(items, one) for one in solved(items)) if s[0] <= budget)
    assert found[1] == min(harm for price, harm in every if price <= budget)


@settings(max_examples=30)
@given(st.lists(st.lists(st.tuples(numbers, numbers), min_size=2, max_size=5), min_size=6, max_size=8))
def test_with_fewer_kept_each_is_near_the_best_for_its_price(items: list[list[tuple[float, float]]]) -> None:
    most = 40
    exact = [summed(items, one) for one in solved(items)]
    found = [summed(items, one) for one in solved(items, most)]
    assert len(found) <= most + 1
    assert found[-1][0] == exact[-1][0], "the cheapest assignment is always there"
    slack = len(items) * (exact[0][0] - exact[-1][0] + 1) * 2 / most
    for price, harm in found:
        best = min((h for p, h in exact if p <= price - slack), default=None)
        assert best is None or harm <= best


def test_equal_options_take_the_first() -> None:
    assert trades([[0.0, 0.0, -1.0]], [[0.0, 0.0, 0.0]]) == [(2,)], "the cheaper one of no harm beats both"
    assert trades([[0.0, 0.0, 0.0]], [[1.0, 1.0, 1.0]]) == [(0,)]
    assert trades([], []) == [()]


def test_a_hundred_places_of_seven_widths_stay_bounded() -> None:
    prices = [[-float((k * 37 + n * 11) % 97) * k for k in range(7)] for n in range(100)]
    harms = [[0.001 * 3**k * (1 + n % 5) for k in range(7)] for n in range(100)]
    found = trades(prices, harms, 512)
    assert 1 < len(found) <= 513
    totals = [sum(p[o] for p, o in zip(prices, options, strict=True)) for options in found]
    assert totals == sorted(totals, reverse=True)
    assert totals[-1] == pytest.approx(sum(min(each) for each in prices))
