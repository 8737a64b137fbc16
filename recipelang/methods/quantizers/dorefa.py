"""`dorefa`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from recipelang.catalogue import method, setting
from recipelang.kinds import Moment, Observed, Scheme
from recipelang.lazy import torch
from recipelang.methods.quantizers._learning import Symmetric, least_squares
from recipelang.methods.quantizers._tanh import levels, settled

if TYPE_CHECKING:
    from torch import Tensor

FULL = 32  # bits


@method("quantizer", "dorefa")
@dataclass(frozen=True)
class DoReFa(Symmetric):
    """Weights pass through tanh before they are rounded, so that no single large weight decides the range.

    What: quantization-aware training without anything to learn but weights; with `gradients`, those of activations have
        few bits as well.
    Formula: t = tanh(w)/max|tanh(w)|; ŵ = r·(2·quantize(t/2 + 1/2) - 1), quantize(x) = round(n·x)/n, with gradients
        through all but the rounding. n = 2^b - 2, an even number, so that zero is a level (the paper has 2^b - 1 and
        none at zero); r is the end of the range of the weight as training begins (the paper has 1, which BatchNorm
        makes up for in a network that is trained from the start). Activations: clip(x, 0, a) rounded to 2^b - 1 steps,
        a that of least squared error; where one was seen below zero, an affine grid.
        Gradients of an activation of one image, G bits: 2m·(quantize(g/2m + 1/2 + N) - 1/2), m = max|g|,
        N = σ/(2^G - 1), σ uniform in -1/2 … 1/2.
    Shapes: one range for a weight (`per`), one for an activation.
    Needs: training after it.
    When it misleads: tanh flattens large weights, so a trained network changes a little as its training begins, and
        needs some steps to recover; `lsq` starts where the network is.
    Source: Zhou et al. 2016, "DoReFa-Net", equations 5, 9, 11 and 12.
    """

    needs: ClassVar[str] = "samples"
    learns: ClassVar[bool] = True

    gradients: int = setting(
        FULL, type="integer", low=2, high=FULL, help="Bits of the gradients of activations; 32 leaves them as they are."
    )

    def range(self, observed: Observed, scheme: Scheme) -> tuple[Tensor, Tensor]:
        """The extremes of a weight; of an activation the range of least squared error."""
        return (observed.low, observed.high) if scheme.signed else least_squares(observed, scheme)

    def computed(self, value: Tensor, one: Any, state: Any, moment: Moment) -> Tensor:
        """ŵ; of an activation the nearest numbers, whose gradients are rounded where `gradients` says so."""
        if one.scheme.signed:
            return levels(value, one)
        nearest: Tensor = one.apply(value)
        if self.gradients < FULL and nearest.requires_grad:
            nearest.register_hook(lambda gradient: rounded_gradient(gradient, self.gradients))
        return nearest

    def finish(self, one: Any, state: Any, value: Tensor | None) -> Any:
        """The same grid; the weight becomes r·t, whose nearest numbers are ŵ."""
        return settled(one, value)


def rounded_gradient(gradient: Tensor, bits: int) -> Tensor:
    """Gradients B×… as multiples of 1/(2^bits - 1) of the largest of their image, with seeded noise."""
    steps = 2**bits - 1
    most = gradient.abs().flatten(1).amax(1).clamp_min(1e-30).view(-1, *[1] * (gradient.ndim - 1))
    noise = (torch.rand_like(gradient) - 0.5) / steps
    share = (gradient / (2 * most) + 0.5 + noise).clamp(0, 1)
    return 2 * most * ((steps * share).round() / steps - 0.5)
