"""Conditions against values with intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pytest

from recipelang.budgets.conditions import Value, excess, judge, missed, relaxed
from recipelang.plan import All, Any_, Reading, Test


@dataclass(frozen=True)
class Clock:
    kind: ClassVar[str] = "metric"
    name: ClassVar[str] = "latency"
    unit: ClassVar[str] = "s"
    source: ClassVar[str] = "clock"
    role: ClassVar[str] = "cost"


LATENCY = Reading(Clock(), form="ratio")


def at(low: float, value: float, high: float):  # type: ignore[no-untyped-def]
    return lambda reading: Value(value, low, high)


@pytest.mark.parametrize(
    ("interval", "surely", "likely", "possibly", "marginal"),
    [
        ((0.60, 0.65, 0.69), True, True, True, False),
        ((0.66, 0.69, 0.72), False, True, True, True),
        ((0.68, 0.71, 0.74), False, False, True, True),
        ((0.71, 0.75, 0.79), False, False, False, False),
        ((0.70, 0.70, 0.70), False, False, False, False),
    ],
)
def test_how_sure_one_must_be(
    interval: tuple[float, float, float], surely: bool, likely: bool, possibly: bool, marginal: bool
) -> None:
    test = Test(LATENCY, "<", 0.7)
    verdicts = {how: judge(test, at(*interval), how) for how in ("surely", "likely", "possibly")}
    assert {how: v.holds for how, v in verdicts.items()} == {"surely": surely, "likely": likely, "possibly": possibly}
    assert all(v.marginal == marginal for v in verdicts.values())


@pytest.mark.parametrize("operator", ["<", "<=", ">", ">=", "=="])
def test_a_number_without_an_interval_is_just_compared(operator: str) -> None:
    exact = {"<": False, "<=": True, ">": False, ">=": True, "==": True}
    assert judge(Test(LATENCY, operator, 0.7), at(0.7, 0.7, 0.7), "surely").holds is exact[operator]


def test_and_needs_all_and_or_needs_one() -> None:
    low, high = Test(LATENCY, "<", 0.7), Test(LATENCY, ">", 0.8)
    read = at(0.5, 0.5, 0.5)
    assert not judge(All((low, high)), read, "surely").holds
    assert judge(Any_((low, high)), read, "surely").holds
    assert " and " in judge(All((low, high)), read, "surely").text


def test_a_bound_may_be_another_reading() -> None:
    other = Reading(Clock(), form="value")
    values = {"ratio": Value(0.5, 0.5, 0.5), "value": Value(0.6, 0.6, 0.6)}
    assert judge(Test(LATENCY, "<", other), lambda r: values[r.form], "surely").holds


def test_a_part_of_the_way_lies_between_start_and_budget() -> None:
    test = Test(LATENCY, "<", 0.6)
    bounds = [relaxed(test, lambda r: 1.0, share).bound for share in (0.0, 0.25, 0.5, 1.0)]  # type: ignore[union-attr]
    assert bounds == pytest.approx([1.0, 0.9, 0.8, 0.6])
    both = relaxed(All((test, Test(LATENCY, "<", 0.2))), lambda r: 1.0, 0.5)
    assert [t.bound for t in both.tests] == pytest.approx([0.8, 0.6])  # type: ignore[union-attr]


def test_by_how_much_a_clock_misses_its_bound_at_either_end_of_its_interval() -> None:
    slow = Test(LATENCY, "<", 0.5)
    verdict = judge(slow, at(0.55, 0.6, 0.75), "surely")
    assert excess(slow, verdict) == pytest.approx(0.75 / 0.5 - 1)
    assert excess(slow, verdict, best=True) == pytest.approx(0.55 / 0.5 - 1)
    assert excess(slow, judge(slow, at(0.45, 0.5, 0.6), "surely"), best=True) == 0
    few = Test(LATENCY, ">", 2.0)  # of which more is better
    verdict = judge(few, at(1.0, 1.6, 1.8), "surely")
    assert excess(few, verdict) == pytest.approx(2.0 / 1.0 - 1)
    assert excess(few, verdict, best=True) == pytest.approx(2.0 / 1.8 - 1)


def test_of_and_the_worst_and_of_or_the_nearest_counts_and_what_is_missed_is_named() -> None:
    near, far = Test(LATENCY, "<", 0.5), Test(LATENCY, "<", 0.4)
    read = at(0.52, 0.52, 0.52)
    for joined, worst in ((All((near, far)), 0.52 / 0.4), (Any_((near, far)), 0.52 / 0.5)):
        verdict = judge(joined, read, "surely")
        assert excess(joined, verdict) == pytest.approx(worst - 1)
        assert len(missed(joined, verdict)) == 2
    half = judge(All((Test(LATENCY, "<", 0.6), far)), read, "surely")
    assert missed(All((Test(LATENCY, "<", 0.6), far)), half) == (far.text,)
    assert missed(near, judge(near, read, "surely")) == (), "a condition of one test needs no names"
