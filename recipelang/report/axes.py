"""Positions of numbers on the axes of charts, and the limits of those axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from recipelang.report.rows import Cell

BEYOND = ", some longer than the frame"  # of intervals, in a caption
FARTHEST = 1e30  # larger than any measurement, and than any axis can show


@dataclass(frozen=True)
class Point:
    """A number on an axis and the lengths of its error bar."""

    value: float
    below: float
    above: float


def point(cell: Cell, relative: bool, kind: str) -> Point | None:
    """The position of a number on an axis, with the lengths of its error bar."""
    m = cell.measured
    if m is None or m.value is None:
        return None
    if relative:
        if kind == "healthy":
            return Point(1.0, 0.0, 0.0)
        value, low, high, scale = m.ratio, m.ratio_low, m.ratio_high, 1.0
    else:
        value, low, high, scale = m.value, m.low, m.high, (100.0 if cell.metric.unit == "%" else 1.0)
    if value is None or abs(value * scale) > FARTHEST:
        return None
    below = max(0.0, value - low) if low is not None else 0.0
    above = max(0.0, high - value) if high is not None else 0.0
    return Point(value * scale, *(min(length * scale, FARTHEST) for length in (below, above)))


def limits_of(points: Sequence[Point], held: Sequence[float] = ()) -> tuple[float, float]:
    """The ends of an axis: they follow the points, and include intervals not much longer than the points' range.

    Args:
        points: the points drawn, at least one.
        held: further values that must be inside.
    """
    values = [*(p.value for p in points), *held]
    low, high = min(values), max(values)
    span = high - low
    size = max(abs(low), abs(high), 1e-9)
    shortest = min((p.below + p.above for p in points if p.below + p.above > 0), default=0.0)
    room = max(span, min(shortest, 0.1 * size), 0.02 * size)
    first = max(low - room, min(low, *(p.value - p.below for p in points)))
    last = min(high + room, max(high, *(p.value + p.above for p in points)))
    pad = 0.08 * (last - first) or room
    return first - pad, last + pad


def reaches_beyond(points: Sequence[Point], limits: tuple[float, float]) -> bool:
    """Whether an interval reaches beyond the frame."""
    return any(p.value - p.below < limits[0] or p.value + p.above > limits[1] for p in points)
