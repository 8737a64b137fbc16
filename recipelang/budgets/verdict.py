"""Whether a condition holds, and the numbers that decided it."""

from __future__ import annotations

from dataclasses import dataclass

from recipelang.kinds.figure import Figure, words


@dataclass(frozen=True)
class Verdict:
    """Whether a condition holds, and the numbers that decided it.

    Attributes:
        holds: as the caller asked: surely (`until`), by the point estimate (`while`) or possibly (`expect`).
        figures: the reading of every test with its interval, and the bound that it was held against.
        marginal: whether the bound is inside an interval, so that noise decides.
        notes: what the measurements say of tests that do not hold: the layers that are in floating point.
    """

    holds: bool
    figures: tuple[Figure, ...]
    marginal: bool = False
    notes: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The readings in words: "latency 0.680× (0.672× to 0.689×)"."""
        return words(self.figures)
