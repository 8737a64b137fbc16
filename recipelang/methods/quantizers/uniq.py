"""`uniq`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from recipelang.catalogue import method
from recipelang.kinds import Moment, Observed, Restriction, Scheme
from recipelang.lazy import torch
from recipelang.methods.quantizers._clipping import values_of
from recipelang.methods.quantizers._few import along, rows_of
from recipelang.methods.quantizers._learning import Symmetric

if TYPE_CHECKING:
    from torch import Tensor


@method("quantizer", "uniq")
@dataclass(frozen=True)
class Uniq(Symmetric):
    """Uniform noise in training: weights learn to tolerate an error as large as that of rounding, with exact gradients.

    What: quantization-aware training without a straight-through gradient: nothing is rounded before the training ends.
    Formula: weights as a normal distribution of mean 0, F its distribution function with the standard deviation of the
        weights, k = 2^b - 1 levels at F⁻¹((i + 1/2)/k), equally probable, one of them 0. In training
        ŵ = F⁻¹(clip(F(w) + e, 1/2k, 1 - 1/2k)), e uniform in -1/2k … 1/2k for every weight and step. Afterwards ŵ is
        the level i = ⌊k·F(w)⌋, for the standard deviation that the weights then have.
    Shapes: one standard deviation for a weight (`per`).
    Needs: training after it.
    When it misleads: the noise is that of levels at quantiles, coarse where weights are large and few; below 4 bits it
        hides most of the weight. All layers have noise at once; the paper adds it to one group of layers after another,
        and has more levels by one, none of them 0.
    Source: Baskin et al. 2018, "UNIQ: Uniform Noise Injection for Non-Uniform Quantization of Neural Networks",
        sections 3.1 and 3.2.
    """

    parts: ClassVar[tuple[str, ...]] = ("weights",)
    uniform: ClassVar[bool] = False
    learns: ClassVar[bool] = True

    def restriction(self, observed: Observed, scheme: Scheme) -> Restriction:
        """The levels for the standard deviation of the weights."""
        from recipelang.surgery.restrictions.codebook import Codebook

        levels, edges = quantiles(deviation(values_of(observed)), 2**scheme.bits - 1)
        return Codebook(levels, scheme.axis, edges=edges)

    def computed(self, value: Tensor, one: Any, state: Any, moment: Moment) -> Tensor:
        """ŵ with noise; what is zero, under a mask, stays zero."""
        width = 1 / (2 * one.count)
        size = self._deviation(value.detach(), one)
        noise = (torch.rand_like(value) * 2 - 1) * width
        place = (torch.special.ndtr(value / size) + noise).clamp(width, 1 - width)
        return torch.where(value == 0, value, size * torch.special.ndtri(place))

    def finish(self, one: Any, state: Any, value: Tensor | None) -> Any:
        """The levels for the standard deviation that the weights have now."""
        assert value is not None
        size = self._deviation(value, one)
        levels, edges = quantiles(size.flatten() if one.axis is not None else size, one.count)
        return replace(one, levels=levels, edges=edges)

    def _deviation(self, value: Tensor, one: Any) -> Tensor:
        if one.axis is None:
            return deviation(value.flatten())
        return along(deviation(rows_of(value, one.axis)), value, one.axis)


def deviation(values: Tensor) -> Tensor:
    """√(mean w²) along the last axis: the standard deviation about zero; positive."""
    return values.float().square().mean(-1).sqrt().clamp_min(1e-12)


def quantiles(size: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The middles of equally probable parts of a normal distribution, and the ends between them.

    Args:
        size: its standard deviation, (…).
        count: of the parts, an odd number.

    Returns:
        (…, count) and (…, count - 1), float32.
    """
    ends = torch.special.ndtri(torch.arange(1, count, dtype=torch.float64) / count)
    middles = torch.special.ndtri((torch.arange(count, dtype=torch.float64) + 0.5) / count)
    middles[count // 2] = 0  # ndtri(1/2), exactly
    levels, edges = (size.double().cpu()[..., None] * numbers for numbers in (middles, ends))
    return levels.float().contiguous().to(size.device), edges.float().contiguous().to(size.device)
