"""How the numbers of a place spread, as BatchNorm tells without data: a normal distribution for each channel, clipped.

Source: Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction", section 5 (ranges)
and appendix C (moments of the clipped normal distribution).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from recipelang.surgery.folding import BATCH_NORMS
from recipelang.surgery.network import Network
from recipelang.surgery.places import SUMS, FunctionCall, calls_of
from recipelang.surgery.restricting import INPUT
from recipelang.surgery.tracing import example_input

RELUS = {"relu", "relu_"}
CLIPS = {"relu6", "hardtanh", "hardtanh_"}
#: means of numbers of one channel: as far apart as those, at most
AVERAGES = {"avg_pool1d", "avg_pool2d", "avg_pool3d", "adaptive_avg_pool1d", "adaptive_avg_pool2d"}
#: move numbers, and keep the channels where they are
KEEPS = {"contiguous", "dropout", "dropout2d", "feature_dropout", "max_pool1d", "max_pool2d", "max_pool3d", "flatten"}


@dataclass(frozen=True)
class Spread:
    """min(max(x, low), high) with x ~ N(mean, deviation²) for each channel.

    Attributes:
        mean, deviation: float64 (C,).
        low, high: the same for all channels; infinite where nothing is clipped.
    """

    mean: Tensor
    deviation: Tensor
    low: float = -math.inf
    high: float = math.inf

    def clipped(self, low: float, high: float) -> Spread:
        """Clipped once more."""
        return replace(self, low=min(max(self.low, low), high), high=min(max(self.high, low), high))

    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean and variance of what is clipped, in closed form."""
        safe = self.deviation.clamp_min(1e-30)
        a, b = ((torch.full_like(self.mean, end) - self.mean) / safe for end in (self.low, self.high))
        low, high = (torch.full_like(self.mean, end if math.isfinite(end) else 0.0) for end in (self.low, self.high))
        below, above = torch.special.ndtr(a), torch.special.ndtr(-b)
        within = 1 - below - above
        pa, pb = (torch.exp(-x.square() / 2) / math.sqrt(2 * math.pi) for x in (a, b))
        edge = [torch.where(x.isfinite(), x, torch.zeros_like(x)) * p for x, p in ((a, pa), (b, pb))]
        # of y = (x - mean) where x is within: E y = σ (φ(a) - φ(b)), E y² = σ² (P + a φ(a) - b φ(b))
        first = safe * (pa - pb)
        second = safe.square() * (within + edge[0] - edge[1])
        from_low, from_high = low - self.mean, high - self.mean
        shift = first + below * from_low + above * from_high
        square = second + below * from_low.square() + above * from_high.square()
        return self.mean + shift, (square - shift.square()).clamp_min(0)

    def ends(self, deviations: float) -> tuple[float, float]:
        """The smallest and the largest number within this many deviations of the mean, over all channels."""
        reach = deviations * self.deviation
        low, high = ((self.mean + side * reach).clamp(self.low, self.high) for side in (-1, 1))
        return float(low.min()), float(high.max())


def spreads_of(network: Network) -> tuple[dict[str, Spread], dict[str, str]]:
    """Place → how its numbers spread; and place → why that is not known.

    The terms of a sum are taken as independent. What a mean of a channel's numbers gives spreads no more than they do.

    Raises:
        Refusal: RCP1405: the network does not run while it is observed.
    """
    calls = calls_of(network.module, example_input(network))
    known: dict[str, Spread] = {}
    unknown: dict[str, str] = {}
    for place, call in calls.items():
        made = _spread(network.module, call, known)
        if isinstance(made, Spread):
            known[place] = made
        else:
            unknown[place] = made
    return known, unknown


def _spread(module: nn.Module, call: FunctionCall, known: Mapping[str, Spread]) -> Spread | str:
    if call.function == INPUT:
        return "without data the range of the network's input is not known"
    if call.function == "batch_norm":
        norm: Any = module.get_submodule(call.path)
        if isinstance(norm, BATCH_NORMS) and norm.running_mean is not None and norm.weight is not None:
            spread = Spread(norm.bias.detach().double().cpu(), norm.weight.detach().double().abs().cpu())
            return spread if bool((spread.mean + spread.deviation).isfinite().all()) else "its BatchNorm is not finite"
        return "its BatchNorm keeps no statistics, or has no scale"
    terms = [known[read] for read in call.reads if read in known]
    if not terms or len(terms) < len(call.reads):
        return "no BatchNorm tells how its numbers spread"
    if call.function in SUMS and len(terms) == 2 and len(terms[0].mean) == len(terms[1].mean):
        means, variances = zip(*(term.moments() for term in terms), strict=True)
        return Spread(means[0] + means[1], (variances[0] + variances[1]).sqrt())
    if len(terms) == 1 and call.function in RELUS:
        return terms[0].clipped(0.0, math.inf)
    if len(terms) == 1 and call.function in CLIPS:
        part: Any = module.get_submodule(call.path)
        if isinstance(part, nn.Hardtanh):
            return terms[0].clipped(float(part.min_val), float(part.max_val))
    if len(terms) == 1 and call.function in AVERAGES | KEEPS:
        return terms[0]
    return f"BatchNorm does not tell how what `{call.function}` returns spreads"
