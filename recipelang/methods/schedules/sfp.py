"""`over sfp`, `over sfp(every=2 epochs)`: the weakest filters are set to zero and go on being trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from recipelang.catalogue import method, setting
from recipelang.errors import SettingError
from recipelang.plan import Duration, Mark


@method("schedule", "sfp")
@dataclass(frozen=True)
class Sfp:
    """Soft filter pruning: after each epoch the weakest filters become zero, are trained again, and may come back.

    What: a filter that is removed early cannot prove its worth later. Here the network keeps its width while it trains,
        so an early mistake is repaired; what is weakest after the training is removed, with parity.
    Formula: at the steps Δt, 2Δt, … of the training the weights that make the parts which the statement would now
        remove are set to zero, F ← 0, and nothing holds them there: the next steps update them, momentum included. Δt
        is `every`. After the last step they are ranked once more, and as many leave the network as were asked for.
    Needs: filters or neurons; the layers that make them are set to zero, biases and BatchNorm are not.
    When it misleads: BatchNorm divides by the deviation of a filter, which is 0 after an update: its gradient is large
        then, and a high learning rate brings back any filter. Where a filter feeds a depthwise one of the same channel,
        both become zero, and only what BatchNorm adds between them lets them learn again. The network that is removed
        from was trained with its full width, so it needs `finetune` where much is removed.
    Source: He et al. 2018, "Soft Filter Pruning for Accelerating Deep Convolutional Neural Networks", algorithm 1.
    """

    moves: ClassVar[tuple[str, ...]] = ("parts",)
    soft: ClassVar[bool] = True
    units: ClassVar[tuple[str, ...]] = ("filters", "neurons")

    every: Duration = setting(Duration(1), type="duration", help="The time from one update to the next.")

    def __post_init__(self) -> None:
        if not self.every.count:
            raise SettingError("every", "an update `every=0` never comes", "write, for example, `every=1 epochs`")

    def target_at(self, final: float, step: int, total: int, steps_per_epoch: int) -> float | None:
        """The whole target at every update; None between two of them."""
        every = max(1, round(self.every.steps(steps_per_epoch)))
        return final if step and step % every == 0 else None

    def telling(self, final: float, total: int, steps_per_epoch: int) -> str:
        """What a plan says: how often parts become zero."""
        updates = sum(self.target_at(final, step, total, steps_per_epoch) is not None for step in range(total))
        times = "once" if updates == 1 else f"{updates} times"
        return f"sfp sets the weakest to zero {times}, {self.every} apart; they are removed after the training"

    def why_not(self, final: float) -> str:
        """It reaches every target."""
        return ""

    def marks(self) -> tuple[Mark, ...]:
        """The first update."""
        return (Mark("every", self.every, f"the first update is after {self.every}, not within the training"),)
