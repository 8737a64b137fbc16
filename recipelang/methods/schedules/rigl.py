"""`over rigl(drop=30%, every=100 steps)`: the smallest weights leave, those with the largest gradients come."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from recipelang.catalogue import method, setting
from recipelang.kinds import Companion, Masking, Moment
from recipelang.methods.schedules._choosing import least, most
from recipelang.methods.schedules._rewiring import Moving, Rewiring, Weight, hold
from recipelang.plan import Duration

if TYPE_CHECKING:
    import torch


@method("schedule", "rigl")
@dataclass(frozen=True)
class RigL(Moving):
    """The rigged lottery: a sparse network that trains from the start, whose connections move to large gradients.

    What: at every update a part of the weights that may be nonzero, the smallest, is removed, and as many of the others
        return: those with the largest gradients. A network never has more nonzero weights than at its end.
    Formula: after t steps, t = Δt, 2·Δt, … before T, of the n pieces kept in a layer ⌊f(t)·n⌋ with the lowest Σ|w| are
        removed, f(t) = drop/2 · (1 + cos(πt/T)); and as many of the highest Σ|∂L/∂w| of those that were not kept, or
        were just removed, are added. Δt is `every`, T is `end`, the gradient that of step t alone.
    Start: random weights are kept with `from scratch`, the largest ones without it; each layer keeps its share.
    Shapes: w and ∂L/∂w O×I or O×I×kh×kw, summed over the pieces of the pattern.
    Needs: the gradient of every weight, the removed ones too, at the updates; between them nothing.
    Measured: a step costs 1.04 of the processor time of a plain one where masks move every 5 steps (1.02 to 1.08 in 3
        rounds; ResNet-20, batches of 128, one thread: `benchmarks/companions.py --every 5`).
    When it misleads: what is added starts at zero, and where it was not removed at that same update, without momentum;
        the fewer steps after `end`, the less of it is of use. torch computes dense products and gradients: sparse
        training saves neither time nor memory here.
    Source: Evci, Gale, Menick, Castro, Elsen 2020, "Rigging the lottery: making all tickets winners", algorithm 1;
        f(t), T = 3/4 of the training and drop = 0.3 as there. There an update takes the place of a step of the
        optimizer; here it comes after one.
    """

    lasts: ClassVar[float] = 0.75

    every: Duration = setting(Duration(100, "steps"), type="duration", help="The time from one update to the next.")
    end: Duration | None = setting(
        None, type="duration", help="When masks stop moving; after 3/4 of the training by default."
    )
    drop: float = setting(0.3, type="number", low=0, high=1, open_low=True, help="The part that moves at the start.")

    def part(self, done: int, total: int, steps_per_epoch: int) -> float:
        """f(t), the part of a layer's kept pieces that moves after `done` of `total` steps."""
        return self.drop / 2 * (1 + math.cos(math.pi * done / self.until(total, steps_per_epoch)))

    def companion(self, masking: Masking) -> Companion:
        """What moves the masks."""
        return ToGradients(masking)


@dataclass(frozen=True)
class ToGradients(Rewiring):
    """Removes the smallest pieces and adds those with the largest gradients."""

    def rewire(self, weights: Sequence[Weight], optimizer: torch.optim.Optimizer, state: Any, moment: Moment) -> None:
        """Layer by layer."""
        part = self.schedule.part(moment.step + 1, moment.total, moment.per_epoch)
        for weight in weights:
            kept = weight.kept
            count = math.floor(round(part * int(kept.sum()), 6))
            stays = kept & ~least(weight.sizes, kept, count)
            weight.set(stays | most(weight.gradients, ~stays, count))
        hold(weights, optimizer)
