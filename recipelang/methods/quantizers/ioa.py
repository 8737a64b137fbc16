"""`ioa`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from recipelang.catalogue import method, setting
from recipelang.kinds import Moment
from recipelang.lazy import torch
from recipelang.methods.quantizers.minmax import MinMax
from recipelang.plan import Duration

if TYPE_CHECKING:
    from torch import Tensor, nn


@method("quantizer", "ioa")
@dataclass(frozen=True)
class Ioa(MinMax):
    """Integer arithmetic only: ranges follow weights and activations while the network trains.

    What: the training of integer-only inference: 8 bits, straight-through, with ranges that are observed, not learned.
    Formula: weights: the range of `minmax`, of the weights as they are in each step. Activations: low and high are
        means of the extremes of each batch, low ← m·low + (1 - m)·min, m = `memory`; they are not rounded before
        `delay`. The gradient passes inside a range and is zero outside. Executed in integers, a product's sum of 32
        bits is multiplied by M = s₁·s₂/s₃ = 2^-n·M₀ with M₀ an integer of 32 bits (`surgery/fixed_point.py`).
    Shapes: one range for each output of a weight, or as `per` says; one for an activation.
    Needs: training after it, a few hundred steps until the means follow.
    When it misleads: one batch with an outlier widens a range for 1/(1 - m) steps. Below 8 bits `lsq` is better.
    Source: Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
        Inference", sections 2.2, 2.4 and 3.1.
    """

    learns: ClassVar[bool] = True

    memory: float = setting(
        0.99, type="number", low=0, high=0.99999, help="How much of the means each batch leaves as it was."
    )
    delay: Duration = setting(
        Duration(0), type="duration", help="How long activations stay in floating point while their ranges settle."
    )

    def begin(self, one: Any, value: Tensor | None) -> nn.Module | None:
        """The means of an activation's extremes, from those of its grid."""
        if value is not None:
            return None
        state = torch.nn.Module()
        for name, end in zip(("low", "high"), one.ends, strict=True):
            state.register_buffer(name, end.float().clone())
        return state

    def computed(self, value: Tensor, one: Any, state: Any, moment: Moment) -> Tensor:
        """The nearest numbers of a grid over the range as it is now."""
        if state is None:
            return _around(value.detach(), one).apply(value)
        seen = value.detach()
        state.low.lerp_(seen.amin().clamp_max(0), 1 - self.memory)
        state.high.lerp_(seen.amax().clamp_min(0), 1 - self.memory)
        if moment.step < self.delay.steps(moment.per_epoch):
            return value
        nearest: Tensor = one.over(state.low, state.high).apply(value)
        return nearest

    def finish(self, one: Any, state: Any, value: Tensor | None) -> Any:
        """The grid over the weights, or over the means."""
        return one.over(state.low, state.high) if value is None else _around(value, one)


def _around(value: Tensor, one: Any) -> Any:
    """The grid over a weight as it is."""
    from recipelang.surgery.quantizing import rows_of

    rows = rows_of(value, one.scheme)
    return one.over(rows.amin(-1), rows.amax(-1))
