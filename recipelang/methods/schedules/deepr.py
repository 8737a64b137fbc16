"""`over deepr(drift=1e-5, temperature=…)`: connections of fixed sign that end where they reach zero."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from recipelang.catalogue import method, setting
from recipelang.kinds import Companion, Masking, Moment
from recipelang.lazy import torch
from recipelang.methods.schedules._choosing import drawn
from recipelang.methods.schedules._rewiring import Rewiring, Weight, hold
from recipelang.plan import Mark
from recipelang.units import show

if TYPE_CHECKING:
    from torch import nn


@method("schedule", "deepr")
@dataclass(frozen=True)
class DeepR:
    """Deep rewiring: every connection has a sign for life; one that would change it is dormant, and another wakes.

    What: training samples networks together with their weights: a drift towards zero and noise let weak connections
        end, and random ones take their place, after every step.
    Formula: w = s·θ with a fixed sign s for each weight. After a step of the optimizer with learning rate η, for active
        connections: θ ← θ − η·drift + √(2·η·temperature)·ν, ν standard normal; those with θ < 0 become dormant (w = 0),
        and of all dormant ones of the layer, each with the same probability, as many become active at θ = 0.
    Start: random weights are active with `from scratch`, the largest ones without it; each layer keeps its share. s is
        the sign of the weight at the start, random where that is zero.
    Shapes: w, s and ν O×I or O×I×kh×kw, single weights.
    Needs: nothing of the data; the signs, as many as weights, are in the checkpoint.
    When it misleads: about half of what wakes has the wrong sign and ends with its first gradient. With momentum the
        noise is that of the last step alone. A high temperature hides the gradient: it is for plain steps of a small
        learning rate.
    Source: Bellec, Kappel, Maass, Legenstein 2018, "Deep rewiring: training very sparse deep networks", algorithm 1,
        with a number for each layer; drift (α) and the noise at η = 0.5 as in the authors' program.
    """

    moves: ClassVar[tuple[str, ...]] = ("masks",)
    ranks: ClassVar[bool] = False
    single: ClassVar[bool] = True

    drift: float = setting(1e-5, type="number", low=0, help="The drift α towards zero, times the learning rate.")
    temperature: float = setting(2.5e-11, type="number", low=0, help="The temperature T of the noise.")

    def target_at(self, final: float, step: int, total: int, steps_per_epoch: int) -> float | None:
        """The target, at every step."""
        return final

    def why_not(self, final: float) -> str:
        """Every share of zeros can be kept."""
        return ""

    def marks(self) -> tuple[Mark, ...]:
        """It moves at every step of any training."""
        return ()

    def telling(self, final: float, total: int, steps_per_epoch: int) -> str:
        """How often it moves masks, for a plan."""
        return f"deepr moves masks at {show(final, '%')} zeros after every step"

    def companion(self, masking: Masking) -> Companion:
        """What moves the masks."""
        return OfOneSign(masking)


@dataclass(frozen=True)
class OfOneSign(Rewiring):
    """Ends connections that would change their sign, and wakes random ones."""

    def begin(self, network: Any, moment: Moment) -> nn.Module:
        """The masks, and the signs as buffers `sign0`, …: −1 or 1, int8."""
        state = super().begin(network, moment)
        for number, name in enumerate(self.masking.names):
            weight = network.module.get_parameter(name).detach()
            random = (torch.rand(weight.shape) < 0.5).to(weight.device)
            negative = (weight < 0) | ((weight == 0) & random)
            sign = torch.empty_like(weight, dtype=torch.int8).fill_(1).masked_fill_(negative, -1)
            state.register_buffer(f"sign{number}", sign)
        return state

    def rewire(self, weights: Sequence[Weight], optimizer: torch.optim.Optimizer, state: Any, moment: Moment) -> None:
        """Layer by layer."""
        rate = float(optimizer.param_groups[0]["lr"])
        noise = math.sqrt(2 * rate * self.schedule.temperature)
        ended = []
        for weight in weights:
            sign, value = state.get_buffer(f"sign{weight.number}"), weight.value
            value.sub_(sign * weight.keep, alpha=rate * self.schedule.drift)
            if noise:
                normal = torch.randn(value.shape).to(value.device)  # on the CPU, so that every device draws the same
                value.add_(normal * weight.keep, alpha=noise)
            dormant = weight.keep & (value * sign < 0)
            weight.keep.masked_fill_(dormant, False)
            ended.append(int(dormant.sum()))
        hold(weights, optimizer)  # what ends and wakes at once starts at zero like the others
        for weight, count in zip(weights, ended, strict=True):
            if count:
                weight.set(weight.kept | drawn(~weight.kept, count))
