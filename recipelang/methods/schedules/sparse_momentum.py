"""`over sparse_momentum(part=50%)`: weights leave by their size and come where the momentum is largest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recipelang.catalogue import method, setting
from recipelang.kinds import Companion, Masking, Moment
from recipelang.lazy import torch
from recipelang.methods.schedules._choosing import apportioned, least, most
from recipelang.methods.schedules._rewiring import Moving, Rewiring, Weight, hold

if TYPE_CHECKING:
    from torch import nn


@method("schedule", "sparse_momentum")
@dataclass(frozen=True)
class SparseMomentum(Moving):
    """Sparse momentum: weights move between and within layers to where smoothed gradients are large.

    What: at every update each layer loses a part of its weights, the smallest. All that were lost are divided among the
        layers in proportion to the mean momentum of their weights, and added where the momentum of a masked weight is
        largest. Layers grow and shrink; the number of weights of the network stays.
    Formula: M ← momentum·M + (1 − momentum)·∂L/∂w after every step, for masked weights too. After t steps of T, layer i
        with n_i pieces loses the ⌊p·n_i⌋ lowest Σ|w|, p = part/2 · (1 + cos(πt/T)); R of all layers together are lost.
        Layer i gains R · m_i / Σ m of them, m_i the mean |M| over its pieces before the loss, rounded so that the sum
        is R, and no more than it has room for; of its masked pieces those with the highest Σ|M|, at zero.
    Start: random weights are kept with `from scratch`, the largest ones without it; each layer begins with its share.
    Shapes: w, ∂L/∂w and M O×I or O×I×kh×kw, summed over the pieces of the pattern.
    Needs: the gradient of every weight, the removed ones too, at every step; M, as large as the weights, is in the
        checkpoint.
    When it misleads: momentum is compared between layers of different scales, so a layer with large gradients may take
        in most of the weights. torch computes dense products: sparse training saves no time here.
    Source: Dettmers, Zettlemoyer 2019, "Sparse networks from scratch: faster training without losing performance",
        algorithm 1 and figure 1 (an update after every epoch, p = 50 %, decayed). There parts are rounded down.
    """

    part: float = setting(0.5, type="number", low=0, high=1, open_low=True, help="The part p that moves at the start.")
    # At 1 no gradient would ever enter M, and every weight would stay as good as any other.
    momentum: float = setting(0.9, type="number", low=0, high=0.9999, help="How much of the smoothed gradient stays.")

    def moved(self, done: int, total: int, steps_per_epoch: int) -> float:
        """p after `done` of `total` steps."""
        return self.part / 2 * (1 + math.cos(math.pi * done / self.until(total, steps_per_epoch)))

    def companion(self, masking: Masking) -> Companion:
        """What moves the masks."""
        return ToMomentum(masking)


@dataclass(frozen=True)
class ToMomentum(Rewiring):
    """Removes the smallest pieces of each layer and adds as many where momentum is largest."""

    def begin(self, network: Any, moment: Moment) -> nn.Module:
        """The masks, and momentum 0."""
        state = super().begin(network, moment)
        for number, name in enumerate(self.masking.names):
            state.register_buffer(f"momentum{number}", torch.zeros_like(network.module.get_parameter(name).detach()))
        return state

    def after_step(self, network: Any, optimizer: torch.optim.Optimizer, state: Any, moment: Moment) -> None:
        """Smooth the gradients of every weight, then as every rewiring."""
        for number, name in enumerate(self.masking.names):
            gradient = network.module.get_parameter(name).grad
            smoothed = state.get_buffer(f"momentum{number}")
            smoothed.mul_(self.schedule.momentum)
            if gradient is not None:
                smoothed.add_(gradient, alpha=1 - self.schedule.momentum)
        super().after_step(network, optimizer, state, moment)

    def rewire(self, weights: Sequence[Weight], optimizer: torch.optim.Optimizer, state: Any, moment: Moment) -> None:
        """Remove layer by layer, divide what was removed, add layer by layer."""
        part = self.schedule.moved(moment.step + 1, moment.total, moment.per_epoch)
        momenta = {one.name: one.pieces(state.get_buffer(f"momentum{one.number}").abs()) for one in weights}
        means, lost = {}, 0
        for weight in weights:
            kept = weight.kept
            means[weight.name] = float(momenta[weight.name][kept].double().mean())
            count = math.floor(round(part * int(kept.sum()), 6))
            weight.set(kept & ~least(weight.sizes, kept, count))
            lost += count
        hold(weights, optimizer)
        gained = apportioned(lost, means, {one.name: int((~one.kept).sum()) for one in weights})
        for weight in weights:
            weight.set(weight.kept | most(momenta[weight.name], ~weight.kept, gained[weight.name]))
