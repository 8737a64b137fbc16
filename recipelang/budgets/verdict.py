"""Whether a condition holds, and the numbers behind it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Verdict:
    """Whether a condition holds, and the numbers behind it.

    Attributes:
        holds: as the caller asked: surely (`until`), by the point estimate (`while`) or possibly (`expect`).
        text: the readings with their intervals: "latency 0.68 (0.67–0.69)".
        value: the reading of a single test; None for `and` / `or`.
        marginal: whether the bound is inside an interval, so that noise decides.
    """

    holds: bool
    text: str
    value: float | None = None
    marginal: bool = False
