"""What an agent for widths goes through: the paper's mapping, the lowering to a budget, the way of all widths."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recipelang.kinds import Choice
from recipelang.searching.widths import FEATURES, WidthCourse, lowered, never_less, way, width_of

ALL = (2, 3, 4, 5, 6, 7, 8)


def choice(number: int, elements: int = 10, bits: tuple[int, ...] = ALL, part: str = "weights") -> Choice:
    return Choice(f"{number}.weight", str(number), part, (elements,), bits, inputs=number + 1)


@given(st.floats(0, 1))
def test_an_action_is_a_width_as_in_the_paper(action: float) -> None:
    expected = min(max(round(2 - 0.5 + action * (8 - 2 + 1)), 2), 8)
    assert width_of(action, ALL) == expected
    of_two = min(max(round(4 - 0.5 + action * (8 - 4 + 1)), 4), 8)
    assert width_of(action, (4, 8)) == (4 if of_two < 6 else 8), "the nearest width, and of two the wider"


def test_every_width_has_an_equal_part_of_the_actions() -> None:
    counts = dict.fromkeys(ALL, 0)
    for step in range(7000):
        counts[width_of((step + 0.5) / 7000, ALL)] += 1
    assert set(counts.values()) == {1000}


sizes = st.lists(st.integers(1, 50), min_size=1, max_size=6)


@given(sizes, st.data())
def test_lowering_takes_one_step_in_turn_until_the_budget_holds(elements: list[int], data: st.DataObject) -> None:
    choices = [choice(n, one) for n, one in enumerate(elements)]
    start = [data.draw(st.sampled_from(ALL)) for _ in choices]
    budget = data.draw(st.floats(0.2, 1.2)) * sum(8 * one for one in elements)

    def price(widths: Sequence[int]) -> float:
        return sum(bits * one for bits, one in zip(widths, elements, strict=True)) / budget

    found = lowered(start, choices, range(len(choices)), price)
    by_hand, at = list(start), 0  # as the paper says it: layer after layer, again from the first
    while price(by_hand) > 1 and max(by_hand) > 2:
        by_hand[at] = max(2, by_hand[at] - 1)
        at = (at + 1) % len(by_hand)
    assert found == by_hand
    assert price(found) <= 1 or set(found) == {2}


def test_places_that_win_nothing_stay_as_they_are() -> None:
    choices = [choice(0), choice(1), choice(2)]
    assert lowered([8, 8, 8], choices, [0, 2], lambda widths: 2.0) == [2, 8, 2]
    assert WidthCourse(choices, [0, 2]).widths([0.0, 0.5]) == [2, 8, 5]


@given(sizes, st.data())
def test_the_way_goes_from_the_widest_past_the_goal_to_the_narrowest_one_step_at_a_time(
    elements: list[int], data: st.DataObject
) -> None:
    choices = [choice(n, one, data.draw(st.sampled_from([ALL, (4, 8), (2, 8)]))) for n, one in enumerate(elements)]
    open = [n for n in range(len(choices)) if data.draw(st.booleans())]
    goal = [data.draw(st.sampled_from(one.bits)) if n in open else one.bits[-1] for n, one in enumerate(choices)]
    found = way(choices, open, goal)
    assert found[0] == [one.bits[-1] for one in choices]
    assert goal in found
    assert found[-1] == [one.bits[0] if n in open else one.bits[-1] for n, one in enumerate(choices)]
    for before, after in zip(found, found[1:], strict=False):
        assert sum(a != b for a, b in zip(before, after, strict=True)) == 1
        assert sum(after) < sum(before)


def test_a_state_is_scaled_and_has_the_last_action() -> None:
    choices = [choice(0, 10), choice(1, 30), choice(2, 20, part="activations")]
    course = WidthCourse(choices, [0, 1, 2])
    state = course.state(1, 0.25)
    assert state.shape == (FEATURES,)
    assert state[-1] == 0.25
    assert state[0] == pytest.approx(0.5)
    assert torch.stack([course.state(n, 0.0)[6] for n in range(3)]).tolist() == pytest.approx([0.0, 1.0, 0.5])
    assert [float(course.state(n, 0.0)[8]) for n in range(3)] == [0, 0, 1]


def test_a_narrower_width_harms_at_least_as_much() -> None:
    assert never_less([5.0, 1.0, 2.0, 0.5]) == [5.0, 2.0, 2.0, 0.5]
