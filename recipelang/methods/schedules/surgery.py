"""`over surgery(margin=10%)`: weights are removed below one threshold and spliced back above another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from recipelang.catalogue import method, setting
from recipelang.kinds import Companion, Masking, Moment
from recipelang.lazy import torch
from recipelang.methods.schedules._marks import end_mark
from recipelang.methods.schedules._rewiring import MovingMasks, Weight, hold
from recipelang.plan import Duration, Mark
from recipelang.units import show

if TYPE_CHECKING:
    from torch import nn


@method("schedule", "surgery")
@dataclass(frozen=True)
class Surgery:
    """Dynamic network surgery: masked weights go on being trained, and return where they become large.

    What: the network computes with the masked weights, and the optimizer updates the dense ones with the gradients of
        those, so that a weight that was removed by mistake grows again and is spliced back.
    Formula: T = 0 where |w| < a, 1 where |w| ≥ b, and as before between; the network computes w·T, and w changes by the
        gradient at w·T. a = (1 − margin)·t, b = (1 + margin)·t, t the threshold that reaches the layer's share of zeros
        in the present weights. Before step i, i = 0, 1, …, each layer is masked again with the probability
        (1 + decay·i)^(−power); before the last step until `end` certainly and with margin 0, so that the share is
        exact, and afterwards the masks stay.
    Start: all weights of the network.
    Shapes: w and T O×I or O×I×kh×kw; |w| summed over the pieces of the pattern.
    Needs: weights alone; the dense weights are in the checkpoint of a training, and not in the network afterwards.
    Measured: a step costs 1.07 of the processor time of a plain one (1.04 to 1.08 in 3 rounds; ResNet-20, batches of
        128, one thread: `benchmarks/companions.py`).
    When it misleads: all that the target asks for is removed before the first step, and a network that is far from
        trained has no large weights yet. Until `end` the share of zeros is near the target, not at it.
    Source: Guo, Yao, Chen 2016, "Dynamic network surgery for efficient DNNs", equations 2 to 4; margin, decay and power
        as in the authors' program, where the threshold is a multiple of the weights' deviation, chosen by hand.
    """

    moves: ClassVar[tuple[str, ...]] = ("masks",)
    ranks: ClassVar[bool] = False

    margin: float = setting(0.1, type="number", low=0, high=1, help="How far both thresholds are from their middle.")
    decay: float = setting(1e-4, type="number", low=0, help="How fast masks are set more rarely, for a step.")
    power: float = setting(1.0, type="number", low=0, help="The power of that decay.")
    end: Duration | None = setting(
        None, type="duration", help="When masks stop changing; after 3/4 of the training by default."
    )

    def until(self, total: int, steps_per_epoch: int) -> int:
        """The number of steps before which masks change; of a training of `total` steps."""
        return max(1, min(total, round(self.end.steps(steps_per_epoch)) if self.end else round(0.75 * total)))

    def probability(self, step: int) -> float:
        """That the masks of a layer are set before a step."""
        return float((1 + self.decay * step) ** -self.power)

    def target_at(self, final: float, step: int, total: int, steps_per_epoch: int) -> float | None:
        """The target, at every step before its end."""
        return final if step < self.until(total, steps_per_epoch) else None

    def why_not(self, final: float) -> str:
        """Every share of zeros has a threshold."""
        return ""

    def marks(self) -> tuple[Mark, ...]:
        """Its end."""
        return end_mark(self.end)

    def telling(self, final: float, total: int, steps_per_epoch: int) -> str:
        """How often it sets masks, for a plan."""
        last = self.until(total, steps_per_epoch) - 1
        until = f"until epoch {last / steps_per_epoch:.3g}"
        lowest = f"{self.probability(last):.2g}"
        falls = f", with a probability that falls from 1 to {lowest}" if lowest != "1" else ""
        return f"surgery sets masks near {show(final, '%')} zeros before every step {until}{falls}"

    def companion(self, masking: Masking) -> Companion:
        """What masks and splices."""
        return Splicing(masking)


@dataclass(frozen=True)
class Splicing(MovingMasks):
    """Hides masked weights while the network computes, and lets the optimizer train them all the same."""

    came: ClassVar[str] = "spliced"

    def begin(self, network: Any, moment: Moment) -> nn.Module:
        """The masks, which keep everything."""
        state = super().begin(network, moment)
        for weight in self.weights(network, state):
            weight.keep.fill_(True)
        return state

    def before_step(self, network: Any, state: Any, moment: Moment) -> None:
        """Set masks where it is time, and take what they mask out of the network."""
        left = self.schedule.until(moment.total, moment.per_epoch) - moment.step
        state.hidden = []
        if left <= 0:
            return
        weights = self.weights(network, state)
        with torch.no_grad():
            with self.counted(network, state):
                for weight in weights:
                    if left == 1:
                        weight.keep.copy_(self._exact(weight))
                    elif float(torch.rand(())) < self.schedule.probability(moment.step):
                        self._splice(weight)
            state.hidden = [weight.value.masked_fill(weight.keep, 0) for weight in weights]
        hold(weights)

    def before_update(self, network: Any, optimizer: torch.optim.Optimizer, state: Any, moment: Moment) -> None:
        """Give the network its dense weights, which the optimizer updates."""
        with torch.no_grad():
            for weight, hidden in zip(self.weights(network, state), state.hidden, strict=False):
                weight.value.add_(hidden)

    def after_step(self, network: Any, optimizer: torch.optim.Optimizer, state: Any, moment: Moment) -> None:
        """Masks stay from the last time on that they were set."""
        if moment.step + 1 >= self.schedule.until(moment.total, moment.per_epoch):
            self.hold(network, state, optimizer)

    def _exact(self, weight: Weight) -> Any:
        return weight.pattern.at(self.masking.shares[weight.name]).mask(weight.value.detach().abs())

    def _splice(self, weight: Weight) -> None:
        """Both thresholds, around the size of the smallest piece that the share lets stay."""
        sizes = weight.sizes
        stays = weight.pattern.at(self.masking.shares[weight.name]).kept(len(sizes))
        middle = sizes.kthvalue(len(sizes) - stays + 1).values
        low, high = (1 - self.schedule.margin) * middle, (1 + self.schedule.margin) * middle
        weight.set((sizes >= high) | (weight.kept & (sizes >= low)))
