"""The ramp `linear`."""

from __future__ import annotations

from dataclasses import dataclass

from recipelang.catalogue import method, setting
from recipelang.methods.ramps._warmup import warmed, warmup_marks
from recipelang.plan import Duration, Mark


@method("ramp", "linear")
@dataclass(frozen=True)
class Linear:
    """A straight line from one value to another, after a linear warm-up.

    What: for a learning rate, or for the weight of a loss term that is replaced gradually by another.
    Formula: start + (to − start) · t, with t from 0 to 1 over the steps after the warm-up.
    When it misleads: the value depends on the length of the training; `to` is the value approached at the end, and the
    last step is one step before it.
    Source: linear decay, as in Goyal et al. 2017 (warm-up) and Devlin et al. 2019 (decay).
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
            lambda t: self.start + (self.to - self.start) * t,
        )

    def marks(self) -> tuple[Mark, ...]:
        """The end of the warm-up."""
        return warmup_marks(self.warmup)
