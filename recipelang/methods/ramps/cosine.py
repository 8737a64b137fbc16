"""The ramp `cosine`."""

from __future__ import annotations

import math
from dataclasses import dataclass

from recipelang.catalogue import method, setting
from recipelang.methods.ramps._warmup import warmed, warmup_marks
from recipelang.plan import Duration, Mark


@method("ramp", "cosine")
@dataclass(frozen=True)
class Cosine:
    """Half a cosine from one value to another, after a linear warm-up.

    What: the usual learning rate for training of known length.
    Formula: to + (start − to) · (1 + cos πt) / 2, with t from 0 to 1 over the steps after the warm-up; during
    the warm-up of w steps, start · (step + 1) / w.
    When it misleads: the value depends on the length of the training, so the first half of a long one is not the same
    as a short one.
    Source: Loshchilov and Hutter 2017, SGDR (without restarts); warm-up of Goyal et al. 2017.
    """

    start: float = setting(type="number", low=0, positional=True, help="Value after the warm-up.")
    to: float = setting(0.0, type="number", low=0, help="Value approached at the end.")
    warmup: Duration | None = setting(None, type="duration", help="How long the value rises at the start.")

    def value_at(self, step: int, total: int, steps_per_epoch: int) -> float:
        """Value for step number `step` (from 0) of `total`."""
        return warmed(
            self.start,
            self.warmup,
            step,
            total,
            steps_per_epoch,
            lambda t: self.to + (self.start - self.to) * (1 + math.cos(math.pi * t)) / 2,
        )

    def marks(self) -> tuple[Mark, ...]:
        """The end of the warm-up."""
        return warmup_marks(self.warmup)
