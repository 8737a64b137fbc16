"""Warm-up, which several ramps share."""

from __future__ import annotations

from recipelang.plan import Duration


def steps_of(duration: Duration | None, steps_per_epoch: int) -> float:
    """A duration in optimizer steps; 0 where there is none."""
    if duration is None:
        return 0.0
    return duration.count * (steps_per_epoch if duration.unit == "epochs" else 1)


def warming(value: float, step: int, warmup: float) -> float | None:
    """The value on the way up, linear from value/warmup to value; None once it is warm."""
    return value * (step + 1) / warmup if step < warmup else None
