"""`over dynamic_sparse(part=1%)`: one threshold for all layers, and free weights go to the layers that lose few."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from recipelang.catalogue import method, setting
from recipelang.kinds import Companion, Masking, Moment
from recipelang.lazy import torch
from recipelang.methods.schedules._choosing import apportioned, drawn, most
from recipelang.methods.schedules._rewiring import Moving, Rewiring, Weight, hold

if TYPE_CHECKING:
    from torch import nn


@method("schedule", "dynamic_sparse")
@dataclass(frozen=True)
class DynamicSparse(Moving):
    """Dynamic sparse reparameterization: weights below one threshold move to the layers with the most weights left.

    What: at every update all weights below a threshold H, the same for every layer, are removed, and as many are added
        at random places of all layers. H is halved or doubled, so that each time about the same number moves.
    Formula: k_i weights of layer i with |w| < H are removed and l_i stay; K = Σ k_i, L = Σ l_i. Layer i gains
        K · l_i/L, rounded so that the sum is K, and no more than it has room for: masked weights, each with the same
        probability, at zero. With N = part · (all weights that can be masked): H ← 2H where K < (1 − tolerance)·N, and
        H ← H/2 where K > (1 + tolerance)·N. A layer keeps its largest weight in any case.
    Start: random weights are kept with `from scratch`, the largest ones without it; each layer begins with its share.
    Shapes: w O×I or O×I×kh×kw, single weights; H is one number.
    Needs: weights alone; H is in the checkpoint.
    When it misleads: until H has found its size, far fewer or more weights than N move: many updates are needed.
        Magnitudes of different layers are compared. torch computes dense products: sparse training saves no time here.
    Source: Mostafa, Wang 2019, "Parameter efficient training of deep convolutional neural networks by dynamic sparse
        reparameterization", algorithm 1; H = 0.001, N of 1 % of all weights and a tolerance of 10 % as there.
    """

    single: ClassVar[bool] = True

    part: float = setting(0.01, type="number", low=0, high=1, open_low=True, help="The part of all weights to move.")
    threshold: float = setting(1e-3, type="number", low=0, open_low=True, help="H at the first update.")
    tolerance: float = setting(0.1, type="number", low=0, high=1, help="How far K may be from N, as a part of N.")

    def companion(self, masking: Masking) -> Companion:
        """What moves the masks."""
        return BelowThreshold(masking)


@dataclass(frozen=True)
class BelowThreshold(Rewiring):
    """Removes what is below one threshold and adds as many where most are left."""

    def begin(self, network: Any, moment: Moment) -> nn.Module:
        """The masks, and the threshold as buffer `threshold`."""
        state = super().begin(network, moment)
        state.register_buffer("threshold", torch.tensor(self.schedule.threshold, dtype=torch.float64))
        return state

    def rewire(self, weights: Sequence[Weight], optimizer: torch.optim.Optimizer, state: Any, moment: Moment) -> None:
        """Remove everywhere, divide what was removed, add everywhere; then adjust the threshold."""
        lost = 0
        for weight in weights:
            kept, sizes = weight.kept, weight.sizes
            stays = kept & ((sizes.double() >= state.threshold) | most(sizes, kept, 1))
            weight.set(stays)
            lost += int(kept.sum()) - int(stays.sum())
        hold(weights, optimizer)
        left = {one.name: int(one.kept.sum()) for one in weights}
        gained = apportioned(lost, left, {one.name: one.kept.numel() - left[one.name] for one in weights})
        for weight in weights:
            weight.set(weight.kept | drawn(~weight.kept, gained[weight.name]))
        wanted = self.schedule.part * sum(one.kept.numel() for one in weights)
        if lost < (1 - self.schedule.tolerance) * wanted:
            state.threshold.mul_(2)
        elif lost > (1 + self.schedule.tolerance) * wanted:
            state.threshold.div_(2)
