"""Cells of the comparison: one metric of one network, under one seed or several, against healthy and its control."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from recipelang.kinds import Measurement, Percentiles
from recipelang.measuring.differences import (
    ANY,
    SHARE,
    Bounds,
    Difference,
    Spread,
    exact_difference,
    over_samples,
    over_seeds,
    seed_difference,
)
from recipelang.measuring.intervals import Z

Numbers = dict[str, Any]
COST: Bounds = (0.0, math.inf)


@dataclass(frozen=True)
class SeedReading:
    """A metric under one seed.

    Attributes:
        mine: of the network.
        healthy: of the healthy network; None if there is none.
        control: of its control; None if there is none.
        unchanged: whether the network is the healthy one.
    """

    mine: Measurement
    healthy: Measurement | None = None
    control: Measurement | None = None
    unchanged: bool = False


def bounds_of(metric: Any) -> Bounds:
    """The range of a metric: its own declaration, else 0 to 1 for a share, from 0 on for a cost."""
    declared: Bounds | None = getattr(metric, "bounds", None)
    return declared or (SHARE if metric.unit == "%" else COST if metric.role == "cost" else ANY)


def numbers(metric: Any, seeds: Sequence[SeedReading]) -> Numbers:
    """The cell as the record holds it: the mean over seeds with its interval, and its comparison with others.

    Args:
        metric: what was measured.
        seeds: one reading per seed, at least one.
    """
    bounds = bounds_of(metric)
    mine = [seed.mine for seed in seeds]
    spread = _spread(mine, bounds)
    cell: Numbers = {
        "value": spread.mean,
        "low": spread.low,
        "high": spread.high,
        "interval": _how(mine, spread),
        "n": mine[0].n if len(mine) == 1 else len(mine),
        "unit": metric.unit,
        "noise": None,
        "note": " / ".join(dict.fromkeys(m.note for m in mine if m.note)),
    }
    if all(m.percentiles for m in mine):
        cell["percentiles"] = _percentiles([m.percentiles for m in mine if m.percentiles])
    if len(mine) > 1:
        cell["std"] = spread.std
    healthy = [seed.healthy for seed in seeds if seed.healthy]
    if len(healthy) == len(mine):
        cell["healthy"] = statistics.fmean(m.value for m in healthy)
        cell |= _against(mine, healthy, bounds)
        if all(seed.unchanged for seed in seeds):
            cell["noise"] = None
    control = [seed.control for seed in seeds if seed.control]
    if len(control) == len(mine):
        cell["control"] = {"value": statistics.fmean(m.value for m in control), **_against(mine, control, bounds)}
    return cell


def _percentiles(seeds: Sequence[Percentiles]) -> Numbers:
    """The means over seeds, and the number of samples of all."""
    means = {name: statistics.fmean(getattr(one, name) for one in seeds) for name in ("p50", "p90", "p99")}
    return {**means, "n": sum(one.n for one in seeds), "calls": max(one.calls for one in seeds)}


def _spread(seeds: Sequence[Measurement], bounds: Bounds) -> Spread:
    """The mean over seeds; with one seed the metric's own interval."""
    values = [m.value for m in seeds]
    if len(seeds) == 1:
        return Spread(values[0], None, seeds[0].low, seeds[0].high, 1)
    samples = _samples(seeds)
    if samples is not None:
        return over_samples(samples, bounds)
    return over_seeds(values, [(m.high - m.low) / 2 / Z for m in seeds], bounds)


def _samples(seeds: Sequence[Measurement]) -> np.ndarray | None:
    """Seeds × samples; None if the metric has no values per sample, or the seeds do not have the same samples."""
    found = [m.per_sample for m in seeds if m.per_sample is not None and len(m.per_sample)]
    if len(found) < len(seeds) or len({len(one) for one in found}) > 1:
        return None
    return np.stack(found).astype(np.float64)


def _how(seeds: Sequence[Measurement], spread: Spread) -> str:
    """How the interval was found, in words."""
    if len(seeds) == 1:
        return seeds[0].interval
    if spread.low == spread.high:
        return ""
    own = f" and {len(seeds[0].per_sample)} samples" if seeds[0].per_sample is not None else ""
    return f"over {len(seeds)} seeds{own or (f', {seeds[0].interval} each' if seeds[0].interval else '')}"


def _against(mine: Sequence[Measurement], theirs: Sequence[Measurement], bounds: Bounds) -> Numbers:
    """Ratio and difference, each with an interval, and whether the change is within the noise."""
    difference = _difference(mine, theirs, bounds)
    against: Numbers = {"difference": difference.value}
    if difference.low < difference.high:
        against |= {"difference_low": difference.low, "difference_high": difference.high}
        against["noise"] = difference.within_noise
    ratio = _ratio(mine, theirs)
    if ratio is not None:
        against |= {"ratio": ratio.mean, "ratio_low": ratio.low, "ratio_high": ratio.high}
        if mine[0].ratio is not None or ("noise" not in against and ratio.low < ratio.high):
            against["noise"] = ratio.low <= 1 <= ratio.high
    return against


def _difference(mine: Sequence[Measurement], theirs: Sequence[Measurement], bounds: Bounds) -> Difference:
    """Paired by seed and sample if there are samples; of computed numbers, the exact difference."""
    values, others = _samples(mine), _samples(theirs)
    if values is None or others is None or values.shape != others.shape:
        pairs = [m.value for m in mine], [m.value for m in theirs]
        if any(m.high > m.low for m in (*mine, *theirs)):  # a clock: its ratio has the interval
            value = statistics.fmean(a - b for a, b in zip(*pairs, strict=True))
            return Difference(value, value, value)
        return exact_difference(*pairs)
    # No network can gain more than the other leaves to gain; its interval bounds that.
    other = _spread(theirs, bounds)
    return seed_difference(values, others, (bounds[0] - other.high, bounds[1] - other.low))


def _ratio(mine: Sequence[Measurement], theirs: Sequence[Measurement]) -> Spread | None:
    """The mean of the ratios; a clock's are those to healthy, timed alternately with it. None if they make no sense."""
    if any(m.ratio is None for m in mine):
        if any(m.value <= 0 for m in theirs):
            return None
        return over_seeds([m.value / t.value for m, t in zip(mine, theirs, strict=True)], bounds=COST)
    found = [_of_clocks(m, t) for m, t in zip(mine, theirs, strict=True)]
    if len(found) == 1 and theirs[0].ratio in (None, 1.0):  # against healthy: the clock's own interval
        m = mine[0]
        low, high = (m.ratio if end is None else end for end in (m.ratio_low, m.ratio_high))
        return Spread(m.ratio, None, low, high, 1)  # type: ignore[arg-type]
    return over_seeds([value for value, _ in found], [error for _, error in found], COST)


def _of_clocks(mine: Measurement, theirs: Measurement) -> tuple[float, float]:
    """Ratio of two ratios to healthy and its standard error; healthy's ratio to itself is exactly 1."""
    ratio, error = _reading(mine)
    other, doubt = (1.0, 0.0) if theirs.ratio is None else _reading(theirs)
    return ratio / other, math.hypot(error, ratio / other * doubt) / other


def _reading(measured: Measurement) -> tuple[float, float]:
    ratio = measured.ratio or 1.0
    low, high = (ratio if end is None else end for end in (measured.ratio_low, measured.ratio_high))
    return ratio, (high - low) / 2 / Z
