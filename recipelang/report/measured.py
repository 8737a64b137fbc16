"""The numbers of a record: columns, values with their intervals, and comparisons with others."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from recipelang.report.decode import NAME


@dataclass(frozen=True)
class Metric:
    """One measured column.

    Attributes:
        name: as the recipe writes it: `latency(batch=64)`.
        unit: `s`, `B`, `%` (a fraction of 1), `FLOPs`, `params` or "".
        role: `cost` is read as a ratio to healthy, `quality` as a difference, `property` as it is.
        better: which direction is better.
        split: the data split that it was measured on; "" if there is none.
    """

    name: str = field(metadata=NAME)
    unit: str
    role: Literal["cost", "quality", "property"]
    better: Literal["lower", "higher"]
    split: str = ""


@dataclass(frozen=True)
class Against:
    """How a number compares with the same of another network.

    Attributes:
        value: the other's value; the mean over seeds.
        ratio, ratio_low, ratio_high: value over the other's, with its interval.
        difference, difference_low, difference_high: value minus the other's, with its interval.
        noise: whether the change is within the noise; null if that has no meaning.
    """

    value: float | None
    ratio: float | None = None
    ratio_low: float | None = None
    ratio_high: float | None = None
    difference: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None
    noise: bool | None = None


@dataclass(frozen=True)
class MeasuredPercentiles:
    """How the times of a clock are spread.

    Attributes:
        p50, p90, p99: in base units; the mean over seeds.
        n: samples, of all seeds. calls: of how many calls in a row each sample is the mean.
    """

    p50: float
    p90: float
    p99: float
    n: int
    calls: int = 1


@dataclass(frozen=True)
class Measured:
    """One number with its interval, and how it compares with healthy.

    Attributes:
        value: in base units; the mean over seeds; null if it could not be measured.
        low, high: the 95 % interval; equal to the value for computed numbers.
        interval: how the interval was found: "Wilson", "bootstrap of 60 pairs", "over 3 seeds and 360 samples".
        n: samples, pairs or seeds that it is based on.
        unit: as in the metric.
        healthy: healthy's value.
        ratio, ratio_low, ratio_high: value over healthy's, with its interval.
        difference, difference_low, difference_high: value minus healthy's, with its interval.
        noise: whether the change against healthy is within the noise; null if that has no meaning.
        note: what the number includes, or leaves out.
        std: standard deviation over seeds; null with one seed.
        control: how it compares with the variant's control, paired by seed and by sample; null if there is none.
        percentiles: of a clock that times single calls; null for other numbers, and in records made before them.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    interval: str = ""
    n: int | None = None
    unit: str = ""
    healthy: float | None = None
    ratio: float | None = None
    ratio_low: float | None = None
    ratio_high: float | None = None
    difference: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None
    noise: bool | None = None
    note: str = ""
    std: float | None = None
    control: Against | None = None
    percentiles: MeasuredPercentiles | None = None
