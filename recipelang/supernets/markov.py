"""Widths as Markov chains: a bin of parts is kept with some probability if the more important bin before it is.

Guo, Wang, Li, Yan, "DMCP: Differentiable Markov channel pruning for neural networks", CVPR 2020, section 3.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def even(bins: int) -> Tensor:
    """The logits of the transitions with which all of the bins + 1 widths are equally likely."""
    left = torch.arange(bins, 0, -1, dtype=torch.float64)
    return torch.logit(left / (left + 1))


def kept(logits: Tensor) -> Tensor:
    """Logits of K transitions → the probability that each of K bins is kept, the most important first: the product of
    the transitions up to it (Eq 4)."""
    return torch.sigmoid(logits).cumprod(0)


def chances(probabilities: Tensor) -> Tensor:
    """What `kept` gives, K → K + 1: the probability that exactly 0 … K bins are kept."""
    one, none = probabilities.new_ones(1), probabilities.new_zeros(1)
    whole = torch.cat([one, probabilities, none])
    return whole[:-1] - whole[1:]


def drawn(logits: Tensor, generator: torch.Generator) -> int:
    """How many bins one walk along the chain keeps: it ends at the first transition that fails."""
    fails = torch.rand(len(logits), generator=generator, dtype=torch.float64) >= torch.sigmoid(logits).double()
    return int(fails.int().argmax()) if bool(fails.any()) else len(logits)


def expected_width(logits: Tensor) -> int:
    """The mean number of bins that are kept, rounded: the sum of their probabilities (Eq 6)."""
    return round(float(kept(logits).sum()))


def distance(cost: Tensor, tolerance: float = 0.05) -> Tensor:
    """The regulariser of an expected cost, in units of its bound: how far it is from what is wanted.

    log(1 − E) below 1 − tolerance, 0 up to 1, log(E − 1 + tolerance) above: no width is wanted for its cost alone once
    the budget holds, and its gradient is never larger than 1 / tolerance (section 3.3, and the authors' code).
    """
    if float(cost.detach()) < 1 - tolerance:
        return torch.log(1 - cost)
    return cost * 0 if float(cost.detach()) <= 1 else torch.log(cost - 1 + tolerance)


def part_gates(probabilities: Tensor, bins: Sequence[Sequence[int]], size: int) -> Tensor:
    """N: for each part of a group the probability that it is kept; 1 for the parts of no bin.

    Args:
        probabilities: of the bins.
        bins: the numbers of the parts of each.
        size: N.
    """
    index = torch.full((size,), len(bins))
    for number, parts in enumerate(bins):
        index[list(parts)] = number
    return torch.cat([probabilities, probabilities.new_ones(1)])[index]
