"""Figures: numbers with units, their words worked out by hand, and what is stored of them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recipelang.budgets.conditions import Value, bounds, judge
from recipelang.kinds.figure import Figure, read, stored, words
from recipelang.plan import All, Any_, Condition, Reading, Test

LATENCY = Figure("latency", 0.68, "x", low=0.672, high=0.689)


@dataclass(frozen=True)
class Clock:
    kind: ClassVar[str] = "metric"
    name: ClassVar[str] = "latency"
    unit: ClassVar[str] = "s"


@pytest.mark.parametrize(
    ("figures", "text"),
    [
        ([Figure("removed", 1, noun="layer")], "1 layer removed"),
        ([Figure("removed", 412, noun="filter", of=1344)], "412 of 1,344 filters removed"),
        ([Figure("are 2:4", 1, noun="weight", of=1)], "1 of 1 weight are 2:4"),
        ([Figure(value=0.3125, noun="epoch"), Figure(value=5, noun="step")], "0.312 epochs, 5 steps"),
        ([LATENCY], "latency 0.680× (0.672× to 0.689×)"),
        ([Figure("latency", unit="x", operator="<", bound=0.7)], "latency < 0.7×"),
        ([Figure("latency", unit="s", operator="<", bound=0.012)], "latency < 12 ms"),
        ([Figure("top1 drop", unit="points", operator="<", bound=0.01)], "top1 drop < 1 points"),
        ([Figure("top1 drop", -0.004, "points")], "top1 drop −0.40 points"),
        ([Figure("top1", 0.912, "%")], "top1 91.20 %"),
        ([Figure("latency", unit="s", operator="<", against="layers.latency")], "latency < layers.latency"),
        ([], ""),
    ],
)
def test_words_of_figures(figures: list[Figure], text: str) -> None:
    assert words(figures) == text


def test_words_join_as_the_condition_does() -> None:
    ratio, absolute = Test(Reading(Clock(), form="ratio"), "<", 0.7), Test(Reading(Clock()), "<=", 0.01)
    condition: Condition = All((ratio, Any_((absolute, absolute))))
    found = judge(condition, lambda reading: Value(0.5, 0.5, 0.5), "surely").figures
    assert words(found) == "latency 0.500× and latency 500 ms or latency 500 ms"
    asked = (*bounds(condition), *bounds(ratio, "while"))
    assert words(asked) == "latency < 0.7× and latency <= 10 ms or latency <= 10 ms while latency < 0.7×"


@given(
    st.builds(
        Figure,
        what=st.text(max_size=8),
        value=st.none() | st.floats(-1e9, 1e9),
        unit=st.sampled_from(["", "x", "s", "%", "points"]),
        noun=st.sampled_from(["", "layer"]),
        of=st.none() | st.integers(1, 9),
        bound=st.none() | st.floats(-1e9, 1e9),
        operator=st.sampled_from(["", "<"]),
        joins=st.sampled_from(["", "and", ":"]),
    )
)
def test_what_is_stored_is_read_again_and_has_words(figure: Figure) -> None:
    again = read(json.loads(json.dumps(stored([figure]))))
    assert again == (figure,) and words(again) == words([figure])


def test_words_of_an_earlier_version_stay_and_anything_else_is_refused() -> None:
    assert words(read("8 of 24 layers removed")) == "8 of 24 layers removed"
    for wrong in (3, {"value": 1}, [1], [{"unheard": 1}]):
        with pytest.raises(TypeError):
            read(wrong)
