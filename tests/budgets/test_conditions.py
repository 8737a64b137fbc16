"""Conditions against values with intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pytest

from recipelang.budgets.conditions import Value, judge, relaxed
from recipelang.plan import All, Any_, Reading, Test


@dataclass(frozen=True)
class Clock:
    kind: ClassVar[str] = "metric"
    name: ClassVar[str] = "latency"
    unit: ClassVar[str] = "s"
    source: ClassVar[str] = "clock"


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
