"""`pact`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from recipelang.catalogue import method, setting
from recipelang.kinds import Moment
from recipelang.lazy import torch
from recipelang.methods.quantizers._learning import Symmetric
from recipelang.methods.quantizers._tanh import levels, settled

if TYPE_CHECKING:
    from torch import Tensor, nn


@method("quantizer", "pact")
@dataclass(frozen=True)
class Pact(Symmetric):
    """Parameterized clipping: the end of every activation's range is trained; weights are those of `dorefa`.

    What: for activations of few bits. A high end clips little and rounds coarsely, a low one the other way round; the
        loss decides, and a penalty pulls it down.
    Formula: y = clip(x, 0, α), rounded to 2^b - 1 steps α/(2^b - 1). ∂y/∂x = 1 where 0 < x < α, ∂y/∂α = 1 where x ≥ α,
        else 0. The loss has λ/2·α² for every activation, λ = `decay`. Where an activation was seen below zero (terms of
        a sum, images) the lower end is trained in the same way. The zero point follows from the ends, so that zero is
        on the grid.
    Shapes: one end, or two, for an activation. Weights as for `dorefa`.
    Needs: training after it. Ends begin at the extremes that were seen.
    When it misleads: with few steps of training the ends are still those of `minmax`, which clip nothing.
    Source: Choi et al. 2018, "PACT: Parameterized Clipping Activation for Quantized Neural Networks", equations 1 to 3
        and section 3; weights: Zhou et al. 2016, `dorefa`.
    """

    learns: ClassVar[bool] = True

    decay: float = setting(1e-4, type="number", low=0, help="λ of the penalty on the ends, λ/2·α² for each.")

    def begin(self, one: Any, value: Tensor | None) -> nn.Module | None:
        """The ends of an activation's range."""
        if value is not None:
            return None
        state = torch.nn.Module()
        state.low, state.high = (
            torch.nn.Parameter(end.detach().clone(), requires_grad=bool(end != 0)) for end in one.ends
        )
        return state

    def computed(self, value: Tensor, one: Any, state: Any, moment: Moment) -> Tensor:
        """y; of a weight what `dorefa` computes."""
        from recipelang.surgery.snapping import clipped

        if state is None:
            return levels(value, one)
        step, low, high = _grid(one, state).steps(value)
        return clipped(value, state.low, state.high, step, low, high)

    def penalty(self, one: Any, state: Any, moment: Moment) -> Tensor | None:
        """λ/2·α² of each end."""
        if state is None or not self.decay:
            return None
        ends = [end for end in (state.low, state.high) if end.requires_grad]
        return self.decay / 2 * sum((end.square() for end in ends), torch.zeros_like(state.high)) if ends else None

    def after_step(self, parameter: Any, one: Any, state: Any, moment: Moment, optimizer: Any) -> None:
        """The lower end stays at or below zero, the upper one at or above, and not both at zero."""
        if state is not None:
            state.low.clamp_(max=0)
            state.high.clamp_(min=0)
            if not (state.high - state.low) > one.scale:
                state.high.copy_(state.high + one.scale)

    def finish(self, one: Any, state: Any, value: Tensor | None) -> Any:
        """The grid between the ends."""
        return settled(one, value) if state is None else _grid(one, state)


def _grid(one: Any, state: Any) -> Any:
    return one.over(state.low.detach(), state.high.detach())
