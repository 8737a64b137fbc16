"""Bisection over whole numbers, for what takes long to ask."""

from __future__ import annotations

from collections.abc import Callable


def bisected(holds: Callable[[int], bool], low: int, high: int) -> int:
    """The first number above `low` at which something holds: it holds at `high`, and from some number on."""
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
