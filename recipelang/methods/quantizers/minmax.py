"""`minmax`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from recipelang.catalogue import method
from recipelang.kinds import Observed, Scheme
from recipelang.methods.quantizers._uniform import Uniform

if TYPE_CHECKING:
    from torch import Tensor


@method("quantizer", "minmax")
@dataclass(frozen=True)
class MinMax(Uniform):
    """The grid covers everything that was seen: from the smallest to the largest value.

    What: the plain choice, and with 8 bits usually a good one.
    Formula: b bits. Symmetric (weights, unless `form` says otherwise), for each output channel, group or all:
        scale = max |w| / k, integers -k … k, k = 2^(b-1) - 1. Affine (activations), one grid each:
        scale = (max - min) / (2^b - 1), integers 0 … 2^b - 1, zero point round(-min / scale); min ≤ 0 ≤ max, so that
        zero is on the grid.
    Shapes: extremes of N outputs → ranges of N outputs; of an activation → one range.
    When it misleads: one outlier widens the grid for all other values. Below 8 bits clipping a few of them is usually
        better.
    Source: Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
        Inference"; Krishnamoorthi 2018, arXiv:1806.08342.
    """

    def range(self, observed: Observed, scheme: Scheme) -> tuple[Tensor, Tensor]:
        """The extremes themselves."""
        return observed.low, observed.high
