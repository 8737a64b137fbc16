"""`--smoke`: so little of each stage that one sees whether a recipe runs through, and nothing more."""

from __future__ import annotations

SAMPLES = 64
STEPS = 2


def few(samples: int | None, smoke: bool) -> int | None:
    """So many samples, None for all; in a smoke run no more than `SAMPLES`."""
    return min(samples or SAMPLES, SAMPLES) if smoke else samples
