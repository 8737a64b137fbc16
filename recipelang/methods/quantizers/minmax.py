"""`minmax`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipelang.catalogue import method, setting
from recipelang.kinds import Observed, Scheme

if TYPE_CHECKING:
    from torch import Tensor


@method("quantizer", "minmax")
@dataclass(frozen=True)
class MinMax:
    """The grid covers everything that was seen: from the smallest to the largest value.

    What: the plain choice, and with 8 bits usually a good one.
    Formula: b bits. Weights, for each output channel or all: scale = max |w| / k, integers -k … k, k = 2^(b-1) - 1.
        Activations, one grid each: scale = (max - min) / (2^b - 1), integers 0 … 2^b - 1, zero point
        round(-min / scale); min ≤ 0 ≤ max, so that zero is on the grid.
    Shapes: extremes of N outputs → ranges of N outputs; of an activation → one range.
    When it misleads: one outlier widens the grid for all other values. Below 8 bits clipping a few of them is usually
        better.
    Source: Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
        Inference"; Krishnamoorthi 2018, arXiv:1806.08342.
    """

    needs: ClassVar[str] = "extremes"

    per: str = setting(
        "channel",
        type="word",
        choices=("channel", "tensor"),
        help="Whether each output channel of a weight has a range of its own, or the whole weight has one.",
    )

    def range(self, observed: Observed, scheme: Scheme) -> tuple[Tensor, Tensor]:
        """The extremes themselves."""
        return observed.low, observed.high
