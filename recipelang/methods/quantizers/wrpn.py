"""`wrpn`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from recipelang.catalogue import method
from recipelang.kinds import Moment
from recipelang.methods.quantizers._learning import Symmetric, keep_between


@method("quantizer", "wrpn")
@dataclass(frozen=True)
class Wrpn(Symmetric):
    """Wide reduced precision: the plainest numbers of few bits, in a network with more filters.

    What: what is lost in bits is recovered by width: with twice the filters (`width=2` of a built-in network) and few
        bits a network computes less than before in full precision.
    Formula: weights are clipped to -r … r, also in training, and ŵ = r/n · round(n·w/r), n = 2^(b-1) - 1; activations
        x̂ = a/m · round(m·clip(x/a, 0, 1)), m = 2^b - 1. The gradient passes inside the range and is zero outside.
        r and a are the extremes that were seen (the paper has 1, for networks trained from the start). An activation
        that was seen below zero has an affine grid.
    Shapes: one range for a weight (`per`), one for an activation.
    Needs: training after it; a wide network for its name: `model digits_resnet(width=2)`.
    When it misleads: at equal bits twice the width costs four times the products.
    Source: Mishra et al. 2018, "WRPN: Wide Reduced-Precision Networks", section 4.
    """

    learns: ClassVar[bool] = True

    def after_step(self, parameter: Any, one: Any, state: Any, moment: Moment, optimizer: Any) -> None:
        """Weights stay within the range."""
        if parameter is not None:
            step, low, high = one.steps(parameter)
            keep_between(parameter, step * low, step * high)
