"""`aciq`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, ClassVar

from recipelang.catalogue import method, setting
from recipelang.kinds import Observed, Scheme
from recipelang.lazy import torch
from recipelang.methods.quantizers._clipping import one_sided, values_of
from recipelang.methods.quantizers._uniform import Uniform

if TYPE_CHECKING:
    from torch import Tensor

#: E|x| / σ below which the Laplace distribution has the larger likelihood: ½ log(2πe σ²) = log(2e b)
TURN = math.sqrt(2 * math.pi * math.e) / (2 * math.e)


@method("quantizer", "aciq")
@dataclass(frozen=True)
class ACIQ(Uniform):
    """The range with the least expected squared error if the values are from a Laplace or normal distribution.

    What: analytical clipping: nothing is searched, so it costs no more than a mean.
    Formula: of b bits, with b_x = E|x - μ| and σ² = E(x - μ)², α minimises
        Laplace: 2 b_x² exp(-α / b_x) + α² / (3 · 4^b), so α / b_x = W(3 · 4^b), Lambert's W (5.03 at 4 bits);
        normal: (α² + σ²)(1 - erf(α / √2σ)) - √(2/π) α σ exp(-α² / 2σ²) + α² / (3 · 4^b) (2.55 σ at 4 bits).
        The range is [μ - α, μ + α], at most the extremes; symmetric grids have μ = 0. Values on one side of zero, as
        after a ReLU, are half of a distribution around 0: zeros are left out, and b + 1 bits stand for both sides.
    Shapes: N values for each range → one range each.
    Needs: of activations a bounded sample of the values, 65,536 at most.
    When it misleads: values of two clusters, or of a channel of very few weights, are from neither distribution.
    Source: Banner, Nahshan and Soudry 2019, "Post Training 4-bit Quantization of Convolutional Networks for
        Rapid-Deployment", arXiv:1810.05723, section 2 (its bias correction and its widths for each channel are not
        part of this method).
    """

    needs: ClassVar[str] = "samples"

    distribution: str = setting(
        "nearer",
        type="word",
        choices=("nearer", "laplace", "normal"),
        positional=True,
        help="The assumed distribution; `nearer`: the one of the two with the larger likelihood, for each range.",
    )

    def range(self, observed: Observed, scheme: Scheme) -> tuple[Tensor, Tensor]:
        """The range of least expected error, of the shape of `observed.low`."""
        values = values_of(observed).double()
        half = one_sided(observed)
        inside = (values != 0) if half else torch.ones_like(values, dtype=torch.bool)
        count = inside.sum(-1).clamp_min(1)
        centre = values.mean(-1) if not (half or scheme.symmetric) else torch.zeros_like(values[..., 0])
        apart = (values - centre[..., None]) * inside
        spread, deviation = apart.abs().sum(-1) / count, (apart.square().sum(-1) / count).sqrt()
        bits = scheme.bits + (half and not scheme.signed)
        laplace, normal = spread * ratio("laplace", bits), deviation * ratio("normal", bits)
        end = {"laplace": laplace, "normal": normal}.get(
            self.distribution, torch.where(spread < TURN * deviation, laplace, normal)
        )
        return (
            torch.maximum((centre - end).float(), observed.low),
            torch.minimum((centre + end).float(), observed.high),
        )


@cache
def ratio(distribution: str, bits: int) -> float:
    """α / b_x of a Laplace distribution, α / σ of a normal one: where the expected squared error is least."""
    step = 3 * 4**bits
    if distribution == "laplace":
        from scipy.special import lambertw

        return float(lambertw(step).real)
    from scipy.optimize import brentq

    def slope(end: float) -> float:  # the derivative by α, halved
        outside = end * math.erfc(end / math.sqrt(2)) - math.sqrt(2 / math.pi) * math.exp(-end * end / 2)
        return outside + end / step

    return float(brentq(slope, 1e-3, 20.0))
