"""Warm-up, shared by several ramps."""

from __future__ import annotations

from collections.abc import Callable

from recipelang.plan import Duration, Mark


def warmup_marks(warmup: Duration | None) -> tuple[Mark, ...]:
    """The end of the warm-up, after which the ramp itself begins."""
    if warmup is None or warmup.count == 0:
        return ()
    return (Mark("warmup", warmup, f"the warm-up of {warmup} leaves nothing for the rest of the ramp"),)


def warmed(
    start: float,
    warmup: Duration | None,
    step: int,
    total: int,
    steps_per_epoch: int,
    along: Callable[[float], float],
) -> float:
    """The value at a step: linear up to `start` during the warm-up, then `along(t)` with t from 0 to 1."""
    long = 0.0 if warmup is None else min(warmup.steps(steps_per_epoch), total)
    if step < long:
        return start * (step + 1) / long
    return along((step - long) / max(1.0, total - long))
