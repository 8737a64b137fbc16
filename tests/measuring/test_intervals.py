"""Intervals and differences against scipy, exact tests and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from recipelang.measuring.differences import paired_difference
from recipelang.measuring.intervals import normal_mean, wilson


@given(st.integers(1, 5000), st.floats(0, 1))
def test_wilson_is_scipys(n: int, share: float) -> None:
    successes = round(share * n)
    expected = stats.binomtest(successes, n).proportion_ci(0.95, method="wilson")
    assert wilson(successes, n) == pytest.approx((expected.low, expected.high), abs=1e-9)


@given(st.integers(1, 400), st.floats(0, 1))
def test_wilson_lies_in_bounds_and_holds_the_share(n: int, share: float) -> None:
    successes = round(share * n)
    low, high = wilson(successes, n)
    assert 0 <= low <= successes / n <= high <= 1 and low < high


def test_normal_mean_by_hand() -> None:
    low, high = normal_mean(np.array([1.0, 2.0, 3.0, 4.0]))  # sd √(5/3), standard error 0.6455
    assert (low, high) == pytest.approx((2.5 - 1.96 * 0.645497, 2.5 + 1.96 * 0.645497), abs=1e-4)
    assert normal_mean(np.array([3.0])) == (3.0, 3.0)


def test_the_difference_is_the_plain_one_and_turns_with_the_sides() -> None:
    ours, theirs = np.array([1, 1, 0, 1.0]), np.array([1, 0, 0, 0.0])
    there, back = paired_difference(ours, theirs), paired_difference(theirs, ours)
    assert there.value == 0.5 == -back.value
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low))


@pytest.mark.parametrize(("gained", "lost"), [(0, 0), (1, 0), (4, 0), (8, 3), (6, 0), (20, 4), (40, 38)])
def test_noise_agrees_with_the_exact_test_of_mcnemar(gained: int, lost: int) -> None:
    """This many of 360 samples differ: the verdict is that of the exact sign test on those that differ."""
    ours, theirs = np.zeros(360), np.zeros(360)
    ours[:gained], theirs[gained : gained + lost] = 1, 1
    exact = stats.binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    assert paired_difference(ours, theirs).within_noise == (exact > 0.05)


def test_paired_intervals_of_proportions_cover() -> None:
    generator = np.random.default_rng(0)
    draws = generator.choice(4, size=(2000, 200), p=[0.84, 0.02, 0.06, 0.08])  # both right, lost, gained, both wrong
    ours, theirs = np.isin(draws, (0, 2)).astype(float), np.isin(draws, (0, 1)).astype(float)
    differences = [paired_difference(a, b) for a, b in zip(ours, theirs, strict=True)]
    assert 0.93 <= np.mean([d.low <= 0.04 <= d.high for d in differences]) <= 0.98


def test_differences_of_losses_are_paired() -> None:
    generator = np.random.default_rng(0)
    base = generator.exponential(1.0, 500)
    difference = paired_difference(base + 0.01 + 0.01 * generator.standard_normal(500), base)
    assert not difference.within_noise and difference.value == pytest.approx(0.01, abs=0.002)


def test_samples_that_do_not_pair_are_refused() -> None:
    with pytest.raises(ValueError, match="3, 2"):
        paired_difference(np.ones(3), np.ones(2))
    with pytest.raises(ValueError, match="at least one"):
        paired_difference(np.ones(0), np.ones(0))
