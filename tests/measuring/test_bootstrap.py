"""Bootstrap intervals of medians: coverage of the truth, and the same numbers every time."""

from __future__ import annotations

import numpy as np
import pytest

from recipelang.measuring.bootstrap import median_interval, ratio_interval, resampled_medians


def noisy_pairs(rounds: int, ratio: float, generator: np.random.Generator, memory: float = 0.0) -> np.ndarray:
    """Timings of two networks on a shared machine: common drift, own noise, and now and then a late one."""

    def noise() -> np.ndarray:
        steps = 0.05 * generator.standard_normal(rounds)
        for i in range(1, rounds):
            steps[i] = memory * steps[i - 1] + np.sqrt(1 - memory**2) * steps[i]
        return steps

    def late() -> np.ndarray:
        return 1 + (generator.random(rounds) < 0.1) * generator.exponential(0.5, rounds)

    drift = noise()
    return np.stack([np.exp(noise() + drift) * late(), ratio * np.exp(noise() + drift) * late()], axis=1)


@pytest.mark.parametrize(("memory", "least"), [(0.0, 0.90), (0.5, 0.86)])
def test_interval_holds_the_true_ratio_about_as_often_as_it_says(memory: float, least: float) -> None:
    generator = np.random.default_rng(7)
    intervals = [ratio_interval(noisy_pairs(60, 0.7, generator, memory), seed=i)[1] for i in range(100)]
    assert least <= np.mean([i.low <= 0.7 <= i.high for i in intervals]) <= 1
    assert abs(np.mean([i.value for i in intervals]) - 0.7) < 0.005  # no bias
    assert np.mean([i.half_width for i in intervals]) < 0.04  # and not by being useless


def test_more_rounds_narrow_the_interval() -> None:
    generator = np.random.default_rng(3)
    few, many = (ratio_interval(noisy_pairs(n, 0.7, generator))[1].half_width for n in (50, 1000))
    assert many < few / 2.5  # √20 = 4.5 in the mean


def test_resampling_depends_on_the_seed_alone() -> None:
    samples = noisy_pairs(50, 0.7, np.random.default_rng(0))
    assert np.array_equal(resampled_medians(samples, seed=1), resampled_medians(samples.copy(), seed=1))
    assert not np.array_equal(resampled_medians(samples, seed=1), resampled_medians(samples, seed=2))


def test_rounds_are_resampled_whole() -> None:
    """Two columns that move together have a ratio without uncertainty, however noisy each of them is."""
    column = np.random.default_rng(0).lognormal(size=101)
    seconds, ratio = ratio_interval(np.stack([column, 0.5 * column], axis=1))
    assert ratio.low == pytest.approx(0.5) and ratio.high == pytest.approx(0.5)
    assert seconds.half_width > 0.05


def test_constant_samples_have_no_interval() -> None:
    found = median_interval(np.full(50, 0.002))
    assert (found.value, found.low, found.high) == (0.002, 0.002, 0.002)


def test_long_series_are_resampled_in_parts_like_short_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = noisy_pairs(64, 0.7, np.random.default_rng(0))
    monkeypatch.setattr("recipelang.measuring.bootstrap._AT_ONCE", 64 * 7)
    medians = resampled_medians(samples)
    assert medians.shape == (1000, 2) and np.isfinite(medians).all()
    assert medians[:, 0].std() > 0 and abs(np.median(medians[:, 0]) - np.median(samples[:, 0])) < 0.05
