"""`faq`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipelang.catalogue import method, setting
from recipelang.kinds import Observed, Scheme
from recipelang.lazy import torch
from recipelang.methods.quantizers._learning import Symmetric

if TYPE_CHECKING:
    from torch import Tensor


@method("quantizer", "faq")
@dataclass(frozen=True)
class Faq(Symmetric):
    """Fine-tuning after quantization: fixed-point numbers near a trained network, and a long fine-tuning.

    What: steps are powers of two, so that a product is rescaled by a shift. The network starts from full precision, and
        training has to overcome the noise of rounding: larger batches, and a learning rate that falls slowly to almost
        nothing, `finetune for 8 epochs with sgd(lr=cosine(1e-3, to=1e-5))`.
    Formula: step = 2^l. Weights: the smallest step with which the largest |w| is on the grid. Activations: the smallest
        with which the quantile `share` of those seen above zero, and of the sizes of those below, is. The gradient
        passes inside the range and is zero outside.
    Shapes: one step for a weight (`per`), one for an activation.
    Needs: a trained network, and training after it.
    When it misleads: a step that is a power of two wastes up to a bit of the range; where the hardware multiplies,
        `lsq` has more to gain.
    Source: McKinstry et al. 2018, "Discovering Low-Precision Networks Close to Full-Precision Networks for Efficient
        Embedded Inference".
    """

    needs: ClassVar[str] = "samples"
    learns: ClassVar[bool] = True

    share: float = setting(
        0.9999, type="number", low=0.5, high=1, help="Of an activation's values, how many are inside its range."
    )

    def range(self, observed: Observed, scheme: Scheme) -> tuple[Tensor, Tensor]:
        """The range of the power of two."""
        low, high = observed.low.float(), observed.high.float()
        if not scheme.signed and observed.values is not None:
            low, high = self._inside(observed.values, low, high)
        low, high = low.clamp_max(0), high.clamp_min(0)
        if scheme.symmetric:
            step = power_of_two(torch.maximum(-low, high) / scheme.high)
            return -step * scheme.high, step * scheme.high
        step = power_of_two((high - low) / (scheme.high - scheme.low))
        # the zero point takes whole steps, so that both ends may need one more
        below = (-low / step).ceil()
        step = torch.where(below + (high / step).ceil() > scheme.high - scheme.low, step * 2, step)
        below = (-low / step).ceil()
        return -below * step, (scheme.high - scheme.low - below) * step

    def _inside(self, values: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        above, below = values[values > 0].float(), -values[values < 0].float()
        high = quantile(above, self.share) if len(above) else high
        return (-quantile(below, self.share) if len(below) else low), high


def power_of_two(step: Tensor) -> Tensor:
    """The smallest power of two that is not below; of 0 the smallest that a grid has."""
    from recipelang.surgery.restrictions.grid import SMALLEST

    return torch.exp2(step.double().clamp_min(SMALLEST).log2().sub(1e-9).ceil()).float()


def quantile(values: Tensor, share: float) -> Tensor:
    """The value that this share of them is not above: `torch.quantile` takes no more than 2^24 numbers."""
    position = min(len(values) - 1, max(0, round(share * len(values)) - 1))
    return values.kthvalue(position + 1).values
