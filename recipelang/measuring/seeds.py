"""Seeds and samples together: how far a mean over a few seeds may be from that of other seeds and samples.

Every seed's network is measured on the same samples, so a value x of seed s and sample i is a two-way layout without
repetition (as readers × cases in the comparison of diagnostic tests: Obuchowski and Rockette 1995; Hillis 2007):

    x[s, i] = μ + seed[s] + sample[i] + rest[s, i]

The mean over m seeds and N samples has the variance τ²/m + own/m + common. `own` = MS(rest)/N and `common` =
(MS(samples) − MS(rest))/(m·N) are estimated from N values each and taken as known. The variance τ² between seeds is
not: two to five seeds say little about it, and Student's t with one degree of freedom, which assumes nothing,
gives intervals of ±100 points. It is averaged over instead, as random-effects meta-analysis of a few studies does
(DuMouchel and Normand 2000; Röver 2020): the likelihood of the observed spread times the prior

    p(τ) ∝ (σ + τ)^(−3/2),    σ² = own

DuMouchel's, with a heavier tail: seeds may differ by much more than their samples explain, but that is not expected.
Simulation (tests/measuring/test_seeds.py) keeps the coverage of 2 to 5 seeds at 95 % or above for τ up to 2σ, and at
90 % or above for τ up to 10σ.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from recipelang.measuring.intervals import Z

#: exponent of the prior's tail
TAIL = 1.5
_POINTS = 400


@dataclass(frozen=True)
class Parts:
    """What the values of m seeds say about their mean.

    Attributes:
        mean: over seeds and samples.
        between: variance of the seeds' means (n − 1); it includes `own`.
        own: sampling variance of one seed's mean that other seeds do not share.
        common: sampling variance that all seeds share.
        seeds: m.
    """

    mean: float
    between: float
    own: float
    common: float
    seeds: int

    @property
    def reach(self) -> float:
        """Half of the 95 % interval of the mean.

        Without any sampling error (a computed number that differs between seeds) it is Student's interval.
        """
        if self.seeds == 1 or self.between == 0 == self.own:
            return Z * math.sqrt(self.common)
        scale = self.own or self.common
        if scale <= 1e-12 * self.between:
            from scipy.special import stdtrit

            return float(stdtrit(self.seeds - 1, 0.975)) * math.sqrt(self.between / self.seeds)
        return self._averaged(math.sqrt(scale))

    def _averaged(self, scale: float) -> float:
        """The reach of the mixture of normals over τ, computed in units of `scale`."""
        from scipy.optimize import brentq
        from scipy.special import ndtr

        between, own, common = (part / scale**2 for part in (self.between, self.own, self.common))
        farthest = 1e3 * max(1.0, math.sqrt(between))
        tau = np.concatenate([[0.0], np.geomspace(1e-3, farthest, _POINTS)])
        variance = np.maximum(tau**2 + own, 1e-12)
        freedom = self.seeds - 1
        log = -freedom / 2 * (np.log(variance) + between / variance) - TAIL * np.log1p(tau)
        weights = np.exp(log - log.max()) * np.gradient(tau)
        weights /= weights.sum()
        deviations = np.sqrt(variance / self.seeds + common)

        def excess(reach: float) -> float:
            return float(np.sum(weights * 2 * ndtr(-reach / deviations))) - 0.05

        return scale * float(brentq(excess, 0.0, 20 * float(deviations[-1])))


def crossed(values: np.ndarray) -> Parts:
    """The parts of values of m seeds on the same N samples, m × N, N ≥ 1."""
    seeds, samples = values.shape
    table = np.asarray(values, np.float64)
    mean, by_seed, by_sample = float(table.mean()), table.mean(axis=1), table.mean(axis=0)
    spread = float(by_sample.var(ddof=1)) if samples > 1 else 0.0
    if seeds == 1:
        return Parts(mean, 0.0, 0.0, spread / samples, 1)
    rest = table - by_seed[:, None] - by_sample + mean
    own = float((rest**2).sum()) / ((seeds - 1) * max(1, samples - 1)) / samples
    return Parts(mean, float(by_seed.var(ddof=1)), own, max(0.0, spread / samples - own / seeds), seeds)


def read(values: np.ndarray, errors: np.ndarray) -> Parts:
    """The parts of m readings with their own standard errors (of a clock, in the same minutes on the same machine).

    Disturbances are assumed to be shared: seeds whose networks have the same structure share one reading.
    """
    table = np.asarray(values, np.float64)
    between = float(table.var(ddof=1)) if len(table) > 1 else 0.0
    return Parts(float(table.mean()), between, 0.0, float(np.mean(np.square(errors))), len(table))
