"""`lsq`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from recipelang.catalogue import method
from recipelang.kinds import Moment, Observed, Scheme
from recipelang.lazy import torch
from recipelang.methods.quantizers._learning import least_squares
from recipelang.methods.quantizers._uniform import Uniform

if TYPE_CHECKING:
    from torch import Tensor, nn

#: share of the step that training begins with, below which no step falls
LEAST = 1e-3


@method("quantizer", "lsq")
@dataclass(frozen=True)
class Lsq(Uniform):
    """Learned step sizes: the steps of all grids are trained with the weights.

    What: the first choice for 4 bits and fewer, with a `finetune` or `distill` after it.
    Formula: v̂ = s · round(clip(v/s, -n, p)). ∂v̂/∂v = 1 where -n < v/s < p, else 0. ∂v̂/∂s = round(v/s) - v/s there, -n
        or p outside, times g = 1 / √(N·p), N the numbers that share a step: those of a weight's row, or those of an
        activation for one image. -n … p are the integers of the grid less its zero point, which stays as it is.
    Shapes: one step for each output of a weight, or as `per` says; one for an activation.
    Needs: training after it. Until then the network has the grids of least squared error, from which training starts:
        the paper's first steps, 2·mean|v|/√p, start with far more error.
    When it misleads: weight decay pulls weights into fewer steps; steps themselves do not decay. Steps want a small
        learning rate: that of a fine-tuning.
    Source: Esser et al. 2020, "Learned Step Size Quantization", equations 3 and 5 and section 2.2.
    """

    needs: ClassVar[str] = "samples"
    learns: ClassVar[bool] = True

    def range(self, observed: Observed, scheme: Scheme) -> tuple[Tensor, Tensor]:
        """That of least squared error."""
        return least_squares(observed, scheme)

    def begin(self, one: Any, value: Tensor | None) -> nn.Module:
        """The steps."""
        state: Any = torch.nn.Module()
        state.step = torch.nn.Parameter(one.scale.clone())
        state.elements = 0 if value is None else value.numel() // one.scale.numel()
        low, high = one.scheme.low - one.zero, one.scheme.high - one.zero
        state.most = float(high.max()) or float(-low.min())
        return state

    def computed(self, value: Tensor, one: Any, state: Any, moment: Moment) -> Tensor:
        """v̂, with gradients for v and s."""
        from recipelang.surgery.snapping import stepped

        step, low, high = one.steps(value, state.step)
        count = state.elements or value[0].numel()
        return stepped(value, step, low, high, (count * state.most) ** -0.5)

    def after_step(self, parameter: Any, one: Any, state: Any, moment: Moment, optimizer: Any) -> None:
        """Steps stay positive."""
        state.step.copy_(torch.maximum(state.step, one.scale * LEAST))

    def finish(self, one: Any, state: Any, value: Tensor | None) -> Any:
        """The grid with the steps that were learned."""
        return replace(one, scale=state.step.detach().clone())
