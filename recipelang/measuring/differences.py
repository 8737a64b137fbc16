"""Differences that are more than noise: between two networks on the same samples, and over seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recipelang.measuring.intervals import Z, normal_mean, student_mean


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
    """Mean over seeds; `std` (n − 1) and the t interval need two seeds at least."""

    mean: float
    std: float | None
    low: float
    high: float
    n: int


def paired_difference(values: np.ndarray, others: np.ndarray) -> Difference:
    """mean(values) − mean(others) on the same N samples, with the interval of paired data.

    Right-or-wrong values (0 and 1) get the interval of Bonett and Price (2012, Laplace-adjusted Wald), which holds
    where only a few samples differ; other values the normal interval of the mean of the differences.

    Args:
        values, others: N each, sample by sample (`Measurement.per_sample`), N ≥ 1.

    Raises:
        ValueError: the two are of different length or empty.
    """
    if len(values) != len(others) or not len(values):
        raise ValueError(f"paired samples must be as many on both sides and at least one: {len(values)}, {len(others)}")
    differences = np.asarray(values, np.float64) - np.asarray(others, np.float64)
    value = float(differences.mean())
    if set(np.unique(values)) | set(np.unique(others)) <= {0.0, 1.0}:
        return Difference(value, *_paired_proportions(differences))
    return Difference(value, *normal_mean(differences))


def _paired_proportions(differences: np.ndarray) -> tuple[float, float]:
    """Bonett–Price interval from N differences in {−1, 0, 1}: one sample is added to each way of differing."""
    n = len(differences) + 2
    gained, lost = (np.sum(differences > 0) + 1) / n, (np.sum(differences < 0) + 1) / n
    reach = Z * math.sqrt((gained + lost - (gained - lost) ** 2) / n)
    return max(-1.0, float(gained - lost - reach)), min(1.0, float(gained - lost + reach))


def over_seeds(values: Sequence[float]) -> Spread:
    """Mean ± standard deviation of one value per seed, with the t interval of the mean.

    Raises:
        ValueError: no values.
    """
    if not values:
        raise ValueError("no seed has a value")
    array = np.asarray(values, np.float64)
    if len(array) == 1:
        return Spread(float(array[0]), None, float(array[0]), float(array[0]), 1)
    low, high = student_mean(array)
    return Spread(float(array.mean()), float(array.std(ddof=1)), low, high, len(array))


def seed_difference(values: Sequence[float], others: Sequence[float]) -> Difference:
    """mean(values) − mean(others), seed by seed, with the t interval of paired data; two seeds at least.

    Raises:
        ValueError: the two are of different length, or fewer than two seeds.
    """
    if len(values) != len(others) or len(values) < 2:
        raise ValueError(f"seeds must be as many on both sides and at least two: {len(values)}, {len(others)}")
    differences = np.asarray(values, np.float64) - np.asarray(others, np.float64)
    return Difference(float(differences.mean()), *student_mean(differences))
