"""Measured numbers in words: values, intervals, changes against a reference.

A cost is read as a ratio ("0.68×"), a quality as a difference in its own points ("−0.4 points"). Digits follow
the interval: digits within the noise are not shown.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass

from recipelang.report.measured import Against, Measured, Metric
from recipelang.report.record import Scalar
from recipelang.units import show

NOISE = "≈"


@dataclass(frozen=True)
class Change:
    """How a number compares with a reference.

    Attributes:
        text: "0.68×" or "−0.4 points".
        interval: "0.67–0.69", or "".
        tone: `better`, `worse`, or `same` if the change is within the noise or zero.
        noise: whether it is within the noise.
    """

    text: str
    interval: str
    tone: str
    noise: bool

    def __str__(self) -> str:
        bracket = f" ({self.interval})" if self.interval else ""
        return f"{self.text}{bracket}{' ' + NOISE if self.noise else ''}"


def number(value: float, digits: int) -> str:
    """A number with this many decimals and a true minus sign; never "−0.0"."""
    rounded = round(value, digits) + 0.0
    return f"{rounded:.{digits}f}".replace("-", "−")


def key(measured: Measured | None) -> str:
    """A number to sort by, as short as it can be; "" if there is none."""
    value = None if measured is None else measured.value
    return "" if value is None or not math.isfinite(value) else f"{value:.7g}"


def short(value: float) -> str:
    """A rank: a whole number, or one decimal where some share it."""
    return number(value, 0 if float(value).is_integer() else 1)


def signed(value: float, digits: int) -> str:
    """The same with its sign, except for a plain zero."""
    text = number(value, digits)
    return f"+{text}" if round(value, digits) > 0 else text


def decimals(low: float | None, high: float | None, exact: int) -> int:
    """How many decimals are meaningful: up to the first digit of the interval's half-width; `exact` without one."""
    if low is None or high is None or not high > low:
        return exact
    return min(6, max(0, -math.floor(math.log10((high - low) / 2) + 0.5)))


def quantity(value: float, unit: str) -> str:
    """A value in readable units, with a true minus sign."""
    return show(value, unit).replace("-", "−")


def value(measured: Measured | None, metric: Metric) -> str:
    """The value with its unit: "1.82 ms"; "–" if there is none."""
    if measured is None or measured.value is None:
        return "–"
    return quantity(measured.value, metric.unit)


def interval(measured: Measured | None, metric: Metric) -> str:
    """The interval of the value: "30.9–31.5 ms"; "" for computed numbers."""
    if measured is None or measured.low is None or measured.high is None or not measured.high > measured.low:
        return ""
    return together(measured.low, measured.high, metric.unit, "–")


def spread(values: list[float], metric: Metric) -> str:
    """Mean ± standard deviation over seeds: "91.20 ± 0.31 %"; only the value if all seeds agree."""
    mean, deviation = statistics.fmean(values), statistics.stdev(values)
    return together(mean, deviation, metric.unit, " ± ") if deviation else quantity(mean, metric.unit)


def together(first: float, second: float, unit: str, glue: str) -> str:
    """Two values in the unit and with the decimals of one: the larger gives the unit, the interval the decimals."""
    largest = max(abs(first), abs(second))
    text = show(largest, unit)
    head, _, name = text.partition(" ")
    if text.endswith("×"):
        head, name = text[:-1], "×"
    try:
        factor = float(head) / largest if largest else 1.0
    except ValueError:  # a unit that `show` puts first
        return f"{quantity(first, unit)}{glue}{quantity(second, unit)}"
    # `show` rounds: the exact factor is the nearest power of ten (also for a percentage).
    factor = 10.0 ** round(math.log10(factor)) if factor > 0 else 1.0
    half = second if "±" in glue else (second - first) / 2
    digits = max(len(head.partition(".")[2]), decimals(-half * factor, half * factor, 0))
    digits = min(digits, 2) if name == "%" else digits
    space = " " if name and name != "×" else ""
    return f"{number(first * factor, digits)}{glue}{number(second * factor, digits)}{space}{name}"


def against_healthy(measured: Measured | None, metric: Metric) -> Change | None:
    """The change against healthy as the record states it; None if it does not."""
    return _stated(measured, metric)


def against_control(measured: Measured | None, metric: Metric) -> Change | None:
    """The change against the control as the record states it; None if it does not."""
    return _stated(measured.control, metric) if measured else None


def _stated(measured: Measured | Against | None, metric: Metric) -> Change | None:
    if measured is None or measured.value is None or metric.role == "property":
        return None
    if metric.role == "cost":
        found = (measured.ratio, measured.ratio_low, measured.ratio_high)
    else:
        found = (measured.difference, measured.difference_low, measured.difference_high)
    return None if found[0] is None else _change(found[0], found[1], found[2], metric, measured.noise)


def against(measured: Measured | None, reference: Measured | None, metric: Metric) -> Change | None:
    """The change against another measurement, found from the two and their intervals.

    Costs are compared by their ratios to healthy if both have one: clocks alternate with healthy, so that ratios
    agree even when times of different minutes do not. The two are treated as independent: half-widths add in
    squares (relative ones for a ratio). Measurements on the same images are not independent, so the interval is
    rather too wide. Without an interval, nothing is said about noise.
    """
    if measured is None or reference is None or metric.role == "property":
        return None
    relative = metric.role == "cost" and measured.ratio is not None and reference.ratio is not None
    mine, theirs = _side(measured, relative), _side(reference, relative)
    if mine is None or theirs is None:
        return None
    (a, half_a), (b, half_b) = mine, theirs
    if metric.role == "quality":
        half = math.hypot(half_a, half_b)
        return _change(a - b, a - b - half, a - b + half, metric, abs(a - b) <= half if half else None)
    if a <= 0 or b <= 0:
        return None
    ratio = a / b
    half = ratio * math.hypot(half_a / a, half_b / b)
    return _change(ratio, ratio - half, ratio + half, metric, abs(ratio - 1) <= half if half else None)


def _side(measured: Measured, relative: bool) -> tuple[float, float] | None:
    """A number (its ratio to healthy if `relative`) and the half-width of its interval; None if there is none."""
    value, low, high = measured.value, measured.low, measured.high
    if relative:
        value, low, high = measured.ratio, measured.ratio_low, measured.ratio_high
    if value is None:
        return None
    return value, 0.0 if low is None or high is None else max(0.0, high - low) / 2


def _change(change: float, low: float | None, high: float | None, metric: Metric, noise: bool | None) -> Change:
    still = 1.0 if metric.role == "cost" else 0.0
    points = metric.role == "quality" and metric.unit == "%"
    scale = 100.0 if points else 1.0
    low, high = (None if bound is None else bound * scale for bound in (low, high))
    if metric.role == "cost":
        digits = max(2, min(3, decimals(low, high, 3)))
        text = f"{number(change, digits)}×"
    else:
        digits = max(1, min(2, decimals(low, high, 2))) if points else max(2, decimals(low, high, 4))
        text = signed(change * scale, digits) + (" points" if points else f" {metric.unit}" if metric.unit else "")
    bounds = ""
    if low is not None and high is not None and high > low:
        show_bound = number if metric.role == "cost" else signed
        glue = "–" if metric.role == "cost" else " … "
        bounds = f"{show_bound(low, digits)}{glue}{show_bound(high, digits)}"
    improved = (change < still) == (metric.better == "lower")
    tone = "same" if noise or change == still else "better" if improved else "worse"
    return Change(text, bounds, tone, bool(noise))


def duration(seconds: float | None) -> str:
    """`95` → "1 min 35 s"; "" if it is not known."""
    if seconds is None:
        return ""
    if seconds < 60:
        return show(seconds, "s") if seconds < 9.95 else f"{seconds:.0f} s"
    whole = round(seconds)
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {left} s"


def plain(scalar: Scalar) -> str:
    """A scalar of the record as text."""
    if scalar is None:
        return "–"
    if isinstance(scalar, bool):
        return "yes" if scalar else "no"
    return f"{scalar:g}" if isinstance(scalar, float) else str(scalar)


def shorten(name: str, most: int) -> str:
    """The name, with its middle left out if it is too long."""
    return name if len(name) <= most else f"{name[: most // 2 - 1]}…{name[-(most // 2) :]}"
