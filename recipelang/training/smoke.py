"""`--smoke`: just enough of each stage to show whether a recipe runs to its end."""

from __future__ import annotations

SAMPLES = 64
STEPS = 2


def few(samples: int | None, smoke: bool) -> int | None:
    """The number of samples, None for all; in a smoke run no more than `SAMPLES`."""
    return min(samples or SAMPLES, SAMPLES) if smoke else samples
