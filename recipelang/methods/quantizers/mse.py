"""`mse`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipelang.catalogue import method, setting
from recipelang.kinds import Observed, Scheme
from recipelang.methods.quantizers._clipping import least_error
from recipelang.methods.quantizers._uniform import Uniform

if TYPE_CHECKING:
    from torch import Tensor


@method("quantizer", "mse")
@dataclass(frozen=True)
class MSE(Uniform):
    """The grid whose rounded and clipped values are nearest to the values, by mean squared error.

    What: clips where the finer steps inside gain more than the clipped values lose.
    Formula: min over ranges of mean |Q(x) - x|^norm. Ranges are shares k / steps of the extremes, k = 1 … steps, the
        same for both ends; for an affine grid over values on both sides of zero, each end is then tried alone.
    Shapes: N values for each range → one range each.
    Needs: of activations a bounded sample of the values, 65,536 at most.
    When it misleads: a value far outside is worth more than the finer steps of all others, and it is not clipped:
        its error is squared. Where a few large values decide what the network answers, it clips too much instead.
    Source: Sung, Shin and Hwang 2015, arXiv:1511.06488; Nagel et al. 2021, "A White Paper on Neural Network
        Quantization", section 3.1. A norm of 2.4, as Bhalgat et al. 2020 (LSQ+) have, clips less.
    """

    needs: ClassVar[str] = "samples"

    norm: float = setting(2.0, type="number", low=1, high=8, positional=True, help="The exponent of the error.")
    steps: int = setting(100, type="integer", low=10, high=1000, help="How many shares of the range are tried.")

    def range(self, observed: Observed, scheme: Scheme) -> tuple[Tensor, Tensor]:
        """The range of least error, of the shape of `observed.low`."""
        return least_error(observed, scheme, self.norm, self.steps)
