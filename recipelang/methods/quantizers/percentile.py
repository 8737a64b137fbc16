"""`percentile(99.99%)`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipelang.catalogue import method, setting
from recipelang.kinds import Observed, Scheme
from recipelang.lazy import torch
from recipelang.methods.quantizers._clipping import values_of
from recipelang.methods.quantizers._uniform import Uniform

if TYPE_CHECKING:
    from torch import Tensor


@method("quantizer", "percentile")
@dataclass(frozen=True)
class Percentile(Uniform):
    """The grid covers a share of the values: the rest, at the ends, is clipped.

    What: a range that a few outliers do not decide.
    Formula: symmetric: [-t, t], t the quantile of |x| at `share`. Affine: the quantiles of x at (1 - share) / 2 and at
        1 - (1 - share) / 2. Between two values a quantile is interpolated linearly.
    Shapes: N values for each range → one range each.
    Needs: of activations a bounded sample of the values, 65,536 at most.
    When it misleads: the share is the same for a bell of values and for one with long tails, which should lose more. A
        channel of few weights hardly has outliers: its range stays nearly as it was.
    Source: McKinstry et al. 2018, arXiv:1809.04191; Wu et al. 2020, arXiv:2004.09602, section 4.
    """

    needs: ClassVar[str] = "samples"

    share: float = setting(
        0.9999,
        type="number",
        low=0.5,
        high=1,
        positional=True,
        help="The share of the values that is inside the range.",
    )

    def range(self, observed: Observed, scheme: Scheme) -> tuple[Tensor, Tensor]:
        """The quantiles, of the shape of `observed.low`."""
        values = values_of(observed)
        if scheme.symmetric:
            end = _quantile(values.abs(), self.share)
            return torch.maximum(-end, observed.low), torch.minimum(end, observed.high)
        tail = (1 - self.share) / 2
        return _quantile(values, tail), _quantile(values, 1 - tail)


def _quantile(values: Tensor, share: float) -> Tensor:
    """Along the last axis. `torch.quantile` takes no more than 2²⁴ values."""
    ordered, place = values.sort(-1).values, share * (values.shape[-1] - 1)
    below = int(place)
    above = min(below + 1, values.shape[-1] - 1)
    return torch.lerp(ordered[..., below], ordered[..., above], place - below)
