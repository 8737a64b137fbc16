"""95 % intervals of proportions and means."""

from __future__ import annotations

import math

import numpy as np

#: 97.5 % quantile of the normal distribution.
Z = 1.959963984540054


def wilson(successes: int, n: int) -> tuple[float, float]:
    """Interval of a proportion (Wilson 1927, score interval): `successes` of `n`, n ≥ 1."""
    return wilson_of_share(successes / n, n)


def wilson_of_share(share: float, n: float) -> tuple[float, float]:
    """The same for a share of n samples, where n need not be a whole number: an effective sample size (Kish 1965)."""
    z2 = Z * Z
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    reach = Z / (1 + z2 / n) * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    # At 0 and at n successes the bound is 0 or 1 exactly; rounding must not push it past the proportion.
    return max(0.0, min(centre - reach, share)), min(1.0, max(centre + reach, share))


def normal_mean(values: np.ndarray) -> tuple[float, float]:
    """Interval of the mean of N values by the central limit theorem; of length 0 if N = 1."""
    mean = float(np.mean(values, dtype=np.float64))
    if len(values) < 2:
        return mean, mean
    reach = Z * float(np.std(values, ddof=1, dtype=np.float64)) / math.sqrt(len(values))
    return mean - reach, mean + reach
