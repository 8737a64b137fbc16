"""`kl(bins=2048)`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from recipelang.catalogue import method, setting
from recipelang.kinds import Observed, Scheme
from recipelang.lazy import torch
from recipelang.methods.quantizers._clipping import values_of
from recipelang.methods.quantizers._uniform import Uniform

if TYPE_CHECKING:
    import numpy
    from torch import Tensor

#: thresholds begin at this part of the range, 128 of 2048 bins: with fewer, one bin can have nearly everything
FIRST = 16
#: the least count of a bin that merged bins leave empty: the divergence is finite and still prefers others
LEAST = 1e-9


@method("quantizer", "kl")
@dataclass(frozen=True)
class KL(Uniform):
    """The threshold whose clipped and merged histogram loses the least information: TensorRT's entropy calibration.

    What: clips the tail of an activation as far as the distribution of the values remains what it was.
    Formula: histogram of |x|, x ≠ 0, in `bins` bins up to the largest value. For each threshold t, a number of bins: P
        is the first t bins, and the last of them has everything beyond; Q is the first t bins merged into as many as
        the grid has numbers on the longer side of zero, each spread evenly over its bins that are not empty. The t
        with the smallest Σ P log(P / Q) is the end of the range; the shorter side ends there or where it ended.
    Shapes: N values of an activation, or of a whole weight (`per=tensor`) → one range.
    Needs: of activations a bounded sample of the values, 65,536 at most.
    Why without zeros: they are on every grid. Counted, those of a ReLU would prevent merging the first bin with the
        next, and tails would be clipped for nothing.
    When it misleads: below 8 bits few numbers hold little of a distribution whatever the threshold is. A row or group
        of a weight has too few values for a histogram: with `per=channel` and `per=group` weights keep their extremes,
        as they do in TensorRT, where activations alone are calibrated.
    Source: Migacz 2017, "8-bit Inference with TensorRT", GPU Technology Conference. Leaving zeros out: this project.
    """

    needs: ClassVar[str] = "samples"

    bins: int = setting(2048, type="integer", low=512, high=65536, help="How many bins the histogram has.")

    def range(self, observed: Observed, scheme: Scheme) -> tuple[Tensor, Tensor]:
        """The range up to the best threshold; the extremes for rows and groups of a weight."""
        low, high = observed.low.float(), observed.high.float()
        if low.ndim or not bool((high - low) > 0):
            return low, high
        values = values_of(observed)
        top = float(torch.maximum(-low, high))
        counts: Any = torch.histc(values[values != 0].abs(), self.bins, 0, top).double().numpy()
        levels = {
            stop: numbers(float(low), float(high), top * stop / self.bins, scheme)
            for stop in range(max(2**scheme.bits, self.bins // FIRST), self.bins + 1)
        }
        lost = divergences(counts, levels)
        limit = torch.tensor(top * min(lost, key=lambda stop: lost[stop]) / self.bins)
        return torch.maximum(low, -limit), torch.minimum(high, limit)


def numbers(low: float, high: float, limit: float, scheme: Scheme) -> int:
    """How many numbers the grid over a clipped range has from zero to the end of its longer side."""
    if scheme.symmetric:
        return scheme.high + 1
    width = min(max(high, 0.0), limit) - max(min(low, 0.0), -limit)
    return round((scheme.high - scheme.low) * min(limit / width, 1)) + 1


def divergences(counts: numpy.ndarray, levels: Mapping[int, int]) -> dict[int, float]:
    """Σ P log(P / Q) of a histogram that is clipped after some bins and merged, for every number of bins.

    All sums over bins are differences of cumulative sums, and Q is the same in all bins of a level that are not empty:
    Σ P log P - Σ P log Q needs one logarithm for each level instead of one for each bin.

    Args:
        counts: of all bins, float64.
        levels: bins inside the threshold → how many numbers stand for them.
    """
    import numpy

    information = counts * numpy.log(numpy.where(counts > 0, counts, 1))
    sums, filled, told = (numpy.concatenate([[0.0], one.cumsum()]) for one in (counts, counts > 0, information))
    found = {}
    for stop, number in levels.items():
        if not sums[stop]:
            found[stop] = math.inf
            continue
        edges = -(-numpy.arange(number + 1) * stop // number)  # the first bin of each level
        merged, beyond = numpy.diff(sums[edges]), sums[-1] - sums[stop]
        spread = merged / numpy.maximum(numpy.diff(filled[edges]), 1) + LEAST
        inside, last = counts[stop - 1], counts[stop - 1] + beyond
        ours = told[stop] - information[stop - 1] + (last * math.log(last) if last else 0.0)
        end = spread[merged.size - 1 - int(numpy.argmax(numpy.diff(edges)[::-1] > 0))] if inside else LEAST
        theirs = float((merged * numpy.log(spread)).sum()) + beyond * math.log(end)
        whole = sums[-1]
        found[stop] = (ours - theirs) / whole - math.log(whole) + math.log(sums[stop] + LEAST * stop)
    return found
