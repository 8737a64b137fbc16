"""Schedules of targets against the formula, and against the steps of a training."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recipelang.errors import Refusal, SettingError
from recipelang.meaning import schedules
from recipelang.methods.optimizers.sgd import Sgd
from recipelang.methods.schedules.agp import Agp
from recipelang.methods.schedules.uniform_steps import UniformSteps
from recipelang.plan import Course, Duration, Training, canonical


def values(schedule: Any, final: float, total: int, per_epoch: int = 10) -> dict[int, float]:
    """Step → target, of every update."""
    found = {step: schedule.target_at(final, step, total, per_epoch) for step in range(total)}
    return {step: target for step, target in found.items() if target is not None}


def test_agp_is_the_cubic_of_the_paper() -> None:
    """t₀ = 2 epochs of 10 steps, Δt = 7 steps, n = (99 − 20) // 7 = 11 updates after the first."""
    found = values(Agp(0.05, Duration(2), Duration(7, "steps")), 0.8, 100)
    assert list(found) == list(range(20, 98, 7))
    for k, target in enumerate(found.values()):
        assert target == pytest.approx(0.8 + (0.05 - 0.8) * (1 - (20 + 7 * k - 20) / (11 * 7)) ** 3)
    assert found[20] == pytest.approx(0.05) and found[97] == 0.8


@given(
    start=st.floats(0, 0.5), final=st.floats(0.51, 0.99), begin=st.integers(0, 30), every=st.integers(1, 40),
    end=st.integers(31, 120) | st.none(), total=st.integers(72, 120),
)  # fmt: skip
def test_the_target_grows_by_ever_smaller_steps_up_to_the_final_one(
    start: float, final: float, begin: int, every: int, end: int | None, total: int
) -> None:
    if end is not None and begin + every > end:
        with pytest.raises(SettingError):
            Agp(start, Duration(begin, "steps"), Duration(every, "steps"), Duration(end, "steps"))
        return
    last = None if end is None else Duration(end, "steps")
    schedule = Agp(start, Duration(begin, "steps"), Duration(every, "steps"), last)
    found = values(schedule, final, total)
    targets = list(found.values())
    assert targets[0] == pytest.approx(start) and targets[-1] == final and len(targets) > 1
    growth = [b - a for a, b in zip(targets, targets[1:], strict=False)]
    assert all(b <= a + 1e-12 for a, b in zip(growth, growth[1:], strict=False)) and min(growth) > 0
    assert max(found) <= min(total - 1, end if end is not None else total)


@given(
    start=st.floats(0, 0.5), final=st.floats(0.51, 0.99), begin=st.integers(0, 30), every=st.integers(1, 40),
    end=st.integers(70, 120) | st.none(), total=st.integers(72, 120),
)  # fmt: skip
def test_uniform_steps_are_equal_and_the_first_is_one_of_them(
    start: float, final: float, begin: int, every: int, end: int | None, total: int
) -> None:
    last = None if end is None else Duration(end, "steps")
    found = values(UniformSteps(start, Duration(begin, "steps"), Duration(every, "steps"), last), final, total)
    count = len(found)
    assert list(found) == [begin + k * every for k in range(count)]
    assert max(found) + every > min(total - 1, end if end is not None else total) >= max(found)
    for k, target in enumerate(found.values(), 1):
        assert target == pytest.approx(start + (final - start) * k / count)
    assert found[max(found)] == final


@pytest.mark.parametrize("kind", [Agp, UniformSteps])
def test_settings_that_contradict_each_other(kind: Any) -> None:
    for field, wrong in {
        "every": {"every": Duration(0)},
        "end": {"begin": Duration(3), "end": Duration(3)},
    }.items():
        with pytest.raises(SettingError) as error:
            kind(**wrong)
        assert error.value.field == field
    assert kind(start=0.6).why_not(0.5) and kind(start=0.5).why_not(0.5) and not kind(start=0.4).why_not(0.5)


def trained_over(schedule: Agp, duration: Duration, target: float = 0.9) -> Training:
    return Training(duration, Sgd(0.1), course=Course(schedule, target))


def test_a_schedule_is_compared_with_the_steps_of_its_training() -> None:
    late = [
        (Agp(begin=Duration(20, "steps"), every=Duration(1)), Duration(5)),  # the first update
        (Agp(begin=Duration(1), every=Duration(16, "steps")), Duration(5)),  # the second
        (Agp(begin=Duration(1), every=Duration(10, "steps"), end=Duration(13, "steps")), Duration(5)),  # it has ended
        (Agp(every=Duration(1), end=Duration(21, "steps")), Duration(5)),  # its end
    ]
    for schedule, duration in late:
        with pytest.raises(Refusal) as refusal:
            schedules.fit(trained_over(schedule, duration), per_epoch=4)
        assert refusal.value.code == "RCP0312", schedule
    schedules.fit(trained_over(Agp(begin=Duration(1), every=Duration(10, "steps")), Duration(5)), per_epoch=4)
    schedules.fit(trained_over(Agp(every=Duration(1), end=Duration(20, "steps")), Duration(5)), per_epoch=4)


def test_a_plan_shows_where_the_target_is_when() -> None:
    training = trained_over(Agp(0.1, every=Duration(1)), Duration(5))
    assert training.course
    assert schedules.told(training.course, training.duration, 4) == (
        "agp sets the target 5 times: 10.00 % at epoch 0, 56.25 % at epoch 1, 80.00 % at epoch 2, 88.75 % at epoch 3, "
        "90.00 % at epoch 4"
    )


def test_a_key_without_a_course_is_that_of_before() -> None:
    training = Training(Duration(1), Sgd(0.1))
    assert "course" not in canonical(training)
    over = trained_over(Agp(), Duration(1))
    assert canonical(over) != canonical(training)
    assert canonical(over) != canonical(trained_over(Agp(), Duration(1), 0.8))
