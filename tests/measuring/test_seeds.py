"""Means over seeds and samples, against formulas by hand, limits that are known, and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import integrate, stats

from recipelang.measuring.differences import (
    SHARE,
    exact_difference,
    over_samples,
    over_seeds,
    paired_difference,
    seed_difference,
)
from recipelang.measuring.intervals import wilson
from recipelang.measuring.seeds import Parts, crossed

RIGHT = st.integers(2, 5).flatmap(
    lambda m: st.integers(2, 40).flatmap(lambda n: arrays(np.float64, (m, n), elements=st.sampled_from([0.0, 1.0])))
)


def test_variances_are_those_of_the_two_way_layout() -> None:
    """Mean squares by hand: rows (1, 2, 6) and (3, 2, 4)."""
    parts = crossed(np.array([[1.0, 2.0, 6.0], [3.0, 2.0, 4.0]]))
    # Seeds 3 and 3; samples 2, 2 and 5, of variance 3; the rest is ∓1, 0, ±1: sum of squares 4, 2 degrees of freedom.
    assert (parts.mean, parts.between) == (3.0, 0.0)
    assert parts.own == pytest.approx((4 / 2) / 3)
    assert parts.common == pytest.approx(3 / 3 - parts.own / 2)


@pytest.mark.parametrize("m", [2, 3, 5])
@pytest.mark.parametrize("between", [0.01, 1.0, 30.0])
def test_the_reach_is_that_of_the_mixture_over_tau(m: int, between: float) -> None:
    """The same integral by adaptive quadrature; own = 1, common = 0.5."""

    def density(tau: float) -> float:
        v = tau**2 + 1
        return float(v ** (-(m - 1) / 2) * np.exp(-(m - 1) * between / 2 / v) * (1 + tau) ** -1.5)

    reach = Parts(0.0, between, 1.0, 0.5, m).reach
    whole = integrate.quad(density, 0, np.inf, limit=500)[0]
    outside = integrate.quad(
        lambda tau: density(tau) * 2 * stats.norm.sf(reach / np.sqrt((tau**2 + 1) / m + 0.5)), 0, np.inf, limit=500
    )[0]
    assert outside / whole == pytest.approx(0.05, abs=0.002)


@given(RIGHT)
def test_intervals_of_shares_are_bounded_hold_the_mean_and_have_a_length(values: np.ndarray) -> None:
    found = over_samples(values, SHARE)
    assert 0 <= found.low <= found.mean <= found.high <= 1
    assert found.high - found.low > 0
    assert found.mean == pytest.approx(values.mean())


@given(RIGHT, st.integers(0, 2**32 - 1))
def test_differences_are_bounded_turn_with_the_sides_and_have_a_length(values: np.ndarray, seed: int) -> None:
    others = np.random.default_rng(seed).permuted(values, axis=1)
    there, back = (seed_difference(*pair, (-1, 1)) for pair in ((values, others), (others, values)))
    assert -1 <= there.low <= there.value <= there.high <= 1 and there.low < there.high
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low))


@given(st.integers(1, 300), st.integers(0, 300))
def test_equal_seeds_are_as_sure_as_one_of_them(n: int, right: int) -> None:
    """Seeds that agree on every sample add nothing: the interval is Wilson's of one of them."""
    one = np.arange(n) < min(right, n)
    found = over_samples(np.tile(one.astype(float), (2, 1)))
    assert (found.low, found.high) == pytest.approx(wilson(int(one.sum()), n), abs=2e-3 + 1 / n**1.5)


def test_one_seed_is_as_before() -> None:
    generator = np.random.default_rng(0)
    ours, theirs = (generator.random((1, 200)) < 0.9).astype(float), (generator.random((1, 200)) < 0.8).astype(float)
    assert seed_difference(ours, theirs) == paired_difference(ours[0], theirs[0])
    found = over_samples(ours)
    assert (found.low, found.high) == wilson(int(ours.sum()), 200) and found.std is None


def test_two_seeds_do_not_leave_everything_open() -> None:
    """80 % and 96 % of 360 samples: Student's t with one degree of freedom says 88 % ± 102 points."""
    generator = np.random.default_rng(0)
    values = np.stack([generator.permutation(360) < round(share * 360) for share in (0.80, 0.96)]).astype(float)
    found = over_samples(values, SHARE)
    assert stats.t.ppf(0.975, 1) * found.std / 2**0.5 > 1
    assert found.low > 0.25 and found.high < 0.995
    near = np.stack([generator.permutation(10_000) < right for right in (9000, 9200)]).astype(float)
    assert over_samples(near).high - over_samples(near).low < 0.12  # Student's t: 25 points


@pytest.mark.parametrize("m", [2, 3, 4, 5])
@pytest.mark.parametrize("tau", [0.0, 0.5, 1.0, 2.0, 4.0])
def test_coverage_of_means(m: int, tau: float) -> None:
    """Newly drawn seeds and samples, τ in units of one seed's own sampling error."""
    generator = np.random.default_rng(1000 * m + int(10 * tau))
    rounds, samples = 1000, 100
    hits = 0
    for _ in range(rounds):
        seed, sample, rest = (generator.standard_normal(shape) for shape in ((m, 1), samples, (m, samples)))
        values = tau / samples**0.5 * seed + 0.7 * sample + rest
        found = over_samples(values)
        hits += found.low <= 0 <= found.high
    assert hits / rounds >= (0.94 if tau <= 2 else 0.90)


@pytest.mark.parametrize("m", [2, 3, 5])
@pytest.mark.parametrize("share", [1.0, 2.5, 4.0])
def test_coverage_of_shares_and_of_their_paired_differences(m: int, share: float) -> None:
    """Answers right with a logistic probability of a level, a seed, a sample and both; healthy stands 0.3 higher."""
    generator = np.random.default_rng(10 * m + int(10 * share))

    def draw(rows: int, columns: int, level: float, sample: np.ndarray) -> np.ndarray:
        seed = 0.1 * generator.standard_normal((rows, 1))
        logit = level + seed + 1.5 * sample + 0.7 * generator.standard_normal((rows, columns))
        return (generator.random((rows, columns)) < 1 / (1 + np.exp(-logit))).astype(float)

    many = generator.standard_normal(400_000)
    truth, healthy = (float(draw(len(many), 1, level, many[:, None]).mean()) for level in (share, share + 0.3))
    inside = []
    for _ in range(300):
        sample = generator.standard_normal(360)
        ours, theirs = (draw(m, 360, level, sample) for level in (share, share + 0.3))
        mean, difference = over_samples(ours), seed_difference(ours, theirs)
        inside.append((mean.low <= truth <= mean.high, difference.low <= truth - healthy <= difference.high))
    assert min(np.mean(inside, axis=0)) >= 0.93


def test_a_clock_that_reads_the_same_network_twice_is_no_surer() -> None:
    found = over_seeds([0.7, 0.7, 0.7], [0.01, 0.01, 0.01])
    assert (found.low, found.high) == pytest.approx((0.7 - 0.0196, 0.7 + 0.0196), abs=1e-4)


def test_a_clock_whose_seeds_differ_leaves_room_for_other_seeds() -> None:
    near, far = (over_seeds([0.7 - gap, 0.7 + gap], [0.005, 0.005]) for gap in (0.002, 0.02))
    assert 2 * 1.96 * 0.005 <= near.high - near.low < far.high - far.low < 0.3


def test_computed_numbers_are_exact_where_seeds_agree_and_bounded_students_t_where_not() -> None:
    assert over_seeds([0.5, 0.5]) == over_seeds([0.5, 0.5], bounds=SHARE)
    assert (over_seeds([0.5, 0.5]).low, over_seeds([0.5, 0.5]).high) == (0.5, 0.5)
    found = over_seeds([0.90, 0.92, 0.94])
    expected = stats.ttest_1samp([0.90, 0.92, 0.94], 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    bounded = over_seeds([0.98, 0.90], bounds=SHARE)
    assert (bounded.low, bounded.high) == (pytest.approx(0.94 - 12.706 * 0.04, abs=1e-3), 1.0)


def test_what_cannot_be_paired_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        seed_difference(np.ones((2, 3)), np.ones((2, 4)))
    with pytest.raises(ValueError, match="at least one"):
        exact_difference([], [])
    with pytest.raises(ValueError, match="no seed"):
        over_seeds([])
