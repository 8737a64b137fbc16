"""Differences beyond noise: between two networks on the same samples, and over seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recipelang.measuring.intervals import Z, normal_mean, wilson, wilson_of_share
from recipelang.measuring.seeds import crossed, read

Bounds = tuple[float, float]
#: bounds of a quantity that may be any number
ANY: Bounds = (-math.inf, math.inf)
#: bounds of a share
SHARE: Bounds = (0.0, 1.0)


@dataclass(frozen=True)
class Difference:
    """How far one network is from another, with the 95 % interval of the difference."""

    value: float
    low: float
    high: float

    @property
    def within_noise(self) -> bool:
        """Whether zero is a plausible difference."""
        return self.low <= 0 <= self.high


@dataclass(frozen=True)
class Spread:
    """Mean over seeds with its 95 % interval; `std` (n − 1) needs at least two seeds."""

    mean: float
    std: float | None
    low: float
    high: float
    n: int


def paired_difference(values: np.ndarray, others: np.ndarray) -> Difference:
    """mean(values) − mean(others) on the same N samples, with the interval of paired data.

    Right-or-wrong values (0 and 1) get the interval of Bonett and Price (2012, Laplace-adjusted Wald), which is valid
    even if only a few samples differ; other values the normal interval of the mean of the differences.

    Args:
        values, others: N values each, sample by sample (`Measurement.per_sample`), N ≥ 1.

    Raises:
        ValueError: the two are of different length or empty.
    """
    if len(values) != len(others) or not len(values):
        raise ValueError(
            f"paired samples must be equally many on both sides, and at least one: {len(values)}, {len(others)}"
        )
    differences = np.asarray(values, np.float64) - np.asarray(others, np.float64)
    value = float(differences.mean())
    if _right_or_wrong(values) and _right_or_wrong(others):
        return Difference(value, *_paired_proportions(differences))
    return Difference(value, *normal_mean(differences))


def _right_or_wrong(values: np.ndarray) -> bool:
    return bool(np.isin(values, (0.0, 1.0)).all())


def _paired_proportions(differences: np.ndarray) -> tuple[float, float]:
    """Bonett–Price interval from N differences in {−1, 0, 1}: one sample is added to each way of differing."""
    n = len(differences) + 2
    gained, lost = (np.sum(differences > 0) + 1) / n, (np.sum(differences < 0) + 1) / n
    reach = Z * math.sqrt((gained + lost - (gained - lost) ** 2) / n)
    return max(-1.0, float(gained - lost - reach)), min(1.0, float(gained - lost + reach))


def over_samples(values: np.ndarray, bounds: Bounds = ANY) -> Spread:
    """Mean over m seeds and their N common samples; see `measuring/seeds.py`.

    Right-or-wrong values get Wilson's interval for the number of samples that gives the same reach: it stays within
    0 and 1, and has a length even if every prediction is right.

    Args:
        values: m × N, m ≥ 1, N ≥ 1.
        bounds: the range of the quantity.
    """
    parts = crossed(values)
    std = math.sqrt(parts.between) if parts.seeds > 1 else None
    if not _right_or_wrong(values):
        return Spread(parts.mean, std, *_within(parts.mean, parts.reach, bounds), parts.seeds)
    seeds, samples = values.shape
    share = parts.mean
    if seeds == 1 or share in (0.0, 1.0):
        low, high = wilson(round(share * samples), samples)
        return Spread(share, std, low, high, seeds)
    variance = share * (1 - share)
    # No fewer samples than seeds: a share that varies around μ has at most the variance μ (1 − μ) (Bhatia and
    # Davis 2000). No more than the actual number.
    worth = min(max(variance * (Z / parts.reach) ** 2, seeds), seeds * samples) if parts.reach else samples
    return Spread(share, std, *wilson_of_share(share, worth), seeds)


def over_seeds(values: Sequence[float], errors: Sequence[float] = (), bounds: Bounds = ANY) -> Spread:
    """Mean of one value per seed, of a quantity that has no samples: a reading of a clock, or a computed number.

    Args:
        values: one per seed.
        errors: the standard error of each reading; empty if the values are exact.
        bounds: the range of the quantity.

    Raises:
        ValueError: no values.
    """
    if not len(values):
        raise ValueError("no seed has a value")
    array = np.asarray(values, np.float64)
    parts = read(array, np.asarray(errors or [0.0] * len(array), np.float64))
    std = math.sqrt(parts.between) if parts.seeds > 1 else None
    return Spread(parts.mean, std, *_within(parts.mean, parts.reach, bounds), len(array))


def seed_difference(values: np.ndarray, others: np.ndarray, bounds: Bounds = ANY) -> Difference:
    """mean(values) − mean(others) of networks that are paired by seed and by sample.

    For right-or-wrong values, one sample is added to each way of differing, as Bonett and Price do with one seed.

    Args:
        values, others: m × N each, m ≥ 1.
        bounds: the range of the difference.

    Raises:
        ValueError: the two are of different shape or empty.
    """
    if values.shape != others.shape or not values.size:
        raise ValueError(
            f"paired samples must be equally many on both sides, and at least one: {values.shape}, {others.shape}"
        )
    if len(values) == 1:
        found = paired_difference(values[0], others[0])
        return Difference(found.value, max(found.low, bounds[0]), min(found.high, bounds[1]))
    differences = np.asarray(values, np.float64) - np.asarray(others, np.float64)
    parts = crossed(differences)
    value = parts.mean
    if _right_or_wrong(values) and _right_or_wrong(others):
        ways = np.tile([1.0, -1.0], (len(differences), 1))
        parts = crossed(np.concatenate([differences, ways], axis=1))
    return Difference(value, *_within(parts.mean, parts.reach, bounds, value))


def exact_difference(values: Sequence[float], others: Sequence[float], bounds: Bounds = ANY) -> Difference:
    """mean(values) − mean(others), seed by seed, of quantities without samples; at least one seed.

    Raises:
        ValueError: the two are of different length or empty.
    """
    if len(values) != len(others) or not len(values):
        raise ValueError(f"seeds must be equally many on both sides, and at least one: {len(values)}, {len(others)}")
    spread = over_seeds([a - b for a, b in zip(values, others, strict=True)], bounds=bounds)
    return Difference(spread.mean, spread.low, spread.high)


def _within(mean: float, reach: float, bounds: Bounds, value: float | None = None) -> tuple[float, float]:
    """The interval around the mean, clipped to the bounds; the value itself is always inside."""
    value = mean if value is None else value
    return min(max(mean - reach, bounds[0]), value), max(min(mean + reach, bounds[1]), value)
