"""The curves of a training while it is under way, for whoever hears of them: loss, its terms, learning rate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from recipelang.kinds import Progress, hears

#: points of a training at most, so that a tracker costs little: each is the mean over the steps since the one before
MOST_POINTS = 500


class Curve:
    """Tells means over some steps, and the rows of epochs. Where nobody hears of them, it does nothing.

    Args:
        progress: of the training.
        total: its steps.
    """

    def __init__(self, progress: Progress, total: int) -> None:
        self._told, self._every = hears(progress), max(1, -(-total // MOST_POINTS))
        self._sums, self._count = dict[str, float](), 0

    @property
    def heard(self) -> bool:
        """Whether anybody hears of it: what is only told need not be kept otherwise."""
        return self._told is not None

    def add(self, step: int, lr: float, loss: float, terms: Mapping[str, Tensor]) -> None:
        """Add a step, from 1: its loss, and the terms that this is the sum of where there are several."""
        if self._told is None:
            return
        for name, value in {"loss": loss, **{f"loss/{name}": float(term) for name, term in terms.items()}}.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._count += 1
        if step % self._every == 0:
            self._told("step", step, {**{name: sum_ / self._count for name, sum_ in self._sums.items()}, "lr": lr})
            self._sums, self._count = {}, 0

    def epoch(self, row: Mapping[str, Any]) -> None:
        """An epoch has ended, with this row of the history."""
        if self._told is not None:
            self._told("epoch", int(row["epoch"]), row)
