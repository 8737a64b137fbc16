"""The ramp `multistep`."""

from __future__ import annotations

from dataclasses import dataclass

from recipelang.catalogue import method, setting
from recipelang.errors import SettingError
from recipelang.methods.ramps._warmup import warmed, warmup_marks
from recipelang.plan import Duration, Mark


@method("ramp", "multistep")
@dataclass(frozen=True)
class Multistep:
    """A value that is multiplied by a factor at the start of chosen epochs.

    What: the learning rate of the ResNet papers: `multistep(0.1, at=[80, 120])` is 0.1, 0.01 from epoch 80 on
    and 0.001 from epoch 120 on; epochs count from 0.
    Formula: start · factor^k, k = the number of epochs of `at` that are reached.
    When it misleads: when the duration changes, `at` has to change too; an epoch that the training does not reach is
    refused.
    Source: He et al. 2016, section 4.2.
    """

    start: float = setting(type="number", low=0, positional=True, help="Value at the start.")
    factor: float = setting(0.1, type="number", low=0, open_low=True, help="Factor applied at each epoch of `at`.")
    at: tuple[float, ...] = setting((), type="numbers", help="Epochs, in ascending order.")
    warmup: Duration | None = setting(None, type="duration", help="How long the value rises at the start.")

    def __post_init__(self) -> None:
        if not self.at:
            raise SettingError(
                "at", "`multistep` without `at` never changes the value", "write the epochs, as in `at=[10, 20]`"
            )
        if any(a <= 0 for a in self.at) or list(self.at) != sorted(set(self.at)):
            raise SettingError("at", "the epochs of `at` must be ascending and greater than 0", "write `at=[10, 20]`")
        if self.warmup and self.warmup.unit == "epochs" and self.at[0] < self.warmup.count:
            message = f"epoch {self.at[0]:g} of `at` is within the warm-up of {self.warmup}"
            raise SettingError("at", message, "begin `at` after the warm-up, or shorten the warm-up")

    def value_at(self, step: int, total: int, steps_per_epoch: int) -> float:
        """Value for step number `step` (from 0) of `total`."""
        reached = sum(step >= epoch * steps_per_epoch for epoch in self.at)
        stepped = self.start * self.factor**reached
        return warmed(self.start, self.warmup, step, total, steps_per_epoch, lambda t: stepped)

    def marks(self) -> tuple[Mark, ...]:
        """The end of the warm-up, and every epoch of `at`."""
        steps = (Mark("at", Duration(a), f"epoch {a:g} of `at` is never reached") for a in self.at)
        return (*warmup_marks(self.warmup), *steps)
