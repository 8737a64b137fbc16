"""`ioa`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from recipelang.catalogue import method, setting
from recipelang.kinds import Moment, Observed, Scheme
from recipelang.lazy import torch
from recipelang.methods.quantizers._uniform import Uniform
from recipelang.plan import Duration

if TYPE_CHECKING:
    from torch import Tensor, nn


@method("quantizer", "ioa")
@dataclass(frozen=True)
class Ioa(Uniform):
    """Integer arithmetic only: ranges follow weights and activations while the network trains.

    What: the training of integer-only inference: 8 bits, straight-through, with ranges that are observed, not learned.
    Formula: weights: the range of `minmax`, of the weights as they are in each step. Activations: low and high are
        means of the extremes of each batch, low ← m·low + (1 - m)·min, m = `memory`; they are not rounded before
        `delay`. The gradient passes inside of a range and is zero outside. Executed in integers, a product's sum of 32
        bits is multiplied by M = s₁·s₂/s₃ = 2^-n·M₀ with M₀ an integer of 32 bits (`surgery/fixed_point.py`).
    Shapes: one range for each output of a weight, or as `per` says; one for an activation.
    Needs: training after it, some hundred steps for the means to follow.
    When it misleads: one batch with an outlier widens a range for 1/(1 - m) steps. Below 8 bits `lsq` is better.
    Source: Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
        Inference", sections 2.2, 2.4 and 3.1.
    """

    learns: ClassVar[bool] = True

    memory: float = setting(0.99, type="number", low=0, high=0.99999, help="Of the means, what is left after a batch.")
    delay: Duration = setting(
        Duration(0), type="duration", help="How long activations stay in floating point while their ranges settle."
    )

    def range(self, observed: Observed, scheme: Scheme) -> tuple[Tensor, Tensor]:
        """The extremes that were seen."""
        return observed.low, observed.high

    def begin(self, one: Any, value: Tensor | None) -> nn.Module | None:
        """The means of an activation's extremes, from those of its grid."""
        if value is not None:
            return None
        state = torch.nn.Module()
        for name, end in (("low", one.scheme.low), ("high", one.scheme.high)):
            state.register_buffer(name, (one.scale * (end - one.zero)).float().clone())
        return state

    def computed(self, value: Tensor, one: Any, state: Any, moment: Moment) -> Tensor:
        """The nearest numbers of a grid over the range as it is now."""
        if state is None:
            return self._weight(value.detach(), one).apply(value)
        seen = value.detach()
        state.low.lerp_(seen.amin().clamp_max(0), 1 - self.memory)
        state.high.lerp_(seen.amax().clamp_min(0), 1 - self.memory)
        if moment.step < self.delay.steps(moment.per_epoch):
            return value
        return self._activation(one, state).apply(value)

    def finish(self, one: Any, state: Any, value: Tensor | None) -> Any:
        """The grid over the weights, or over the means."""
        return self._activation(one, state) if value is None else self._weight(value, one)

    def _activation(self, one: Any, state: Any) -> Any:
        from recipelang.surgery.restrictions.grid import Grid

        return replace(Grid.between(state.low, state.high, one.scheme), trained=one.trained)

    def _weight(self, value: Tensor, one: Any) -> Any:
        from recipelang.surgery.quantizing import rows_of
        from recipelang.surgery.restrictions.grid import Grid

        rows = rows_of(value, one.scheme)
        return replace(Grid.between(rows.amin(-1), rows.amax(-1), one.scheme), trained=one.trained)
