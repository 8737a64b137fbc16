"""Bootstrap intervals of medians and of ratios of medians, from samples that were timed alternately."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

RESAMPLES = 1000
#: Index entries held at once: limits the memory of long measurements.
_AT_ONCE = 1_000_000


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Half of the interval's length."""
        return (self.high - self.low) / 2


def resampled_medians(samples: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """Medians of resampled rounds.

    Rounds are drawn as a whole, so that a disturbance of both networks of a round stays together, and in blocks of
    n^(1/3) neighbouring rounds, so that disturbances that last several rounds widen the interval as they should
    (circular block bootstrap, Politis and Romano 1992). The draw depends only on `seed`.

    Args:
        samples: rounds × networks, seconds.

    Returns:
        RESAMPLES × networks.
    """
    rounds, networks = samples.shape
    length = max(1, round(rounds ** (1 / 3)))
    blocks = -(-rounds // length)
    generator = np.random.default_rng(seed)
    medians = np.empty((RESAMPLES, networks))
    step = max(1, _AT_ONCE // rounds)
    for first in range(0, RESAMPLES, step):
        count = min(step, RESAMPLES - first)
        starts = generator.integers(0, rounds, (count, blocks, 1))
        rows = ((starts + np.arange(length)) % rounds).reshape(count, -1)[:, :rounds]
        for network in range(networks):
            medians[first : first + count, network] = np.median(samples[:, network][rows], axis=1)
    return medians


def interval(value: float, resampled: np.ndarray) -> Interval:
    """An estimate, with the interval that its values in resampled rounds give."""
    low, high = np.percentile(resampled, [2.5, 97.5])
    return Interval(float(value), float(low), float(high))


def median_interval(samples: np.ndarray, *, seed: int = 0) -> Interval:
    """Median of `samples` (rounds, seconds) with its 95 % bootstrap interval."""
    return interval(float(np.median(samples)), resampled_medians(samples[:, None], seed=seed)[:, 0])


def ratio_interval(samples: np.ndarray, *, seed: int = 0) -> tuple[Interval, Interval]:
    """Candidate against healthy.

    Args:
        samples: rounds × 2, seconds: healthy, candidate.

    Returns:
        The candidate's median, and the ratio of the candidate's median to the healthy one.
    """
    medians = resampled_medians(samples, seed=seed)
    healthy, candidate = np.median(samples, axis=0)
    return interval(candidate, medians[:, 1]), interval(candidate / healthy, medians[:, 1] / medians[:, 0])
