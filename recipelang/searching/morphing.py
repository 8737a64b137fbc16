"""MorphNet's two halves: a penalty that prices every part by what it costs, and a multiplier for all widths.

Source: Gordon et al., "MorphNet: fast & simple resource-constrained structure learning of deep networks", CVPR 2018,
equations 3 to 5 and algorithm 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from recipelang.searching.bilinear import BilinearCost


def penalty(sizes: Sequence[Tensor], alive: Tensor, cost: BilinearCost) -> Tensor:
    """The penalty G: each part's |γ|, times what the network would cost less without it.

    Formula: Σ single_j·m_j + Σ both_ij·(m_i·A_j + A_i·m_j), m_j the mean of |γ| in group j, A_j the share of its parts
    that are alive. The cost itself would be Σ single_j·A_j + Σ both_ij·A_i·A_j.

    Args:
        sizes: for each group |γ| of its parts.
        alive: n: A. It has no gradient.
        cost: of the network, as a function of the shares that groups keep.
    """
    mean = torch.stack([size.mean() for size in sizes]).to(alive.dtype)
    return mean @ cost.slope(alive.detach())


def smaller(block: Tensor, least: Tensor) -> Tensor:
    """The proximal step of Σ least_i·‖block_i‖: every row shorter by that much, and zero where it is no longer.

    Args:
        block: N×K.
        least: N, or a scalar.
    """
    length = block.norm(dim=1)
    factor = (1 - least / length.clamp_min(torch.finfo(block.dtype).tiny)).clamp_min(0)
    return block * factor[:, None]


def widest(
    shares: Sequence[float], widths: Sequence[Sequence[int]], met: Callable[[Sequence[int]], bool]
) -> tuple[float, list[int]]:
    """The largest multiplier ω of the widths that are alive with which a budget is met, and the steps that lead there.

    Widths are rounded down to those that a group may have, and then up where the budget allows it, those first that
    lack most.

    Args:
        shares: of its parts that are alive in each group.
        widths: of each group: the parts that it keeps after 0, 1, … steps.
        met: whether numbers of steps meet the budget; widths never help it.

    Returns:
        ω and the numbers of steps; those of the smallest multiple where none meets it.
    """
    factors = sorted({width / (share * each[0]) for share, each in zip(shares, widths, strict=True) for width in each})

    def steps(factor: float) -> list[int]:
        return [_narrowed(share * factor, each) for share, each in zip(shares, widths, strict=True)]

    low, high = 0, len(factors)  # the smallest factor is the way out; at `high` it is not met, or there is none
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if met(steps(factors[middle])) else (low, middle)
    almost = factors[min(high, len(factors) - 1)]  # the multiplier that is just too large
    return factors[low], _rounded_up(steps(factors[low]), [share * almost for share in shares], widths, met)


def _rounded_up(
    steps: list[int], wanted: Sequence[float], widths: Sequence[Sequence[int]], met: Callable[[Sequence[int]], bool]
) -> list[int]:
    """A step less of the groups whose widths lack most of what is wanted, as far as the budget allows."""
    lacking = [share - each[k] / each[0] for share, each, k in zip(wanted, widths, steps, strict=True)]
    for group in sorted(range(len(steps)), key=lambda g: -lacking[g]):
        if lacking[group] > 1e-9 and steps[group]:
            wider = [k - (g == group) for g, k in enumerate(steps)]
            steps = wider if met(wider) else steps
    return steps


def _narrowed(share: float, widths: Sequence[int]) -> int:
    """The first number of steps after which no more than a share is kept; all where every width is above it."""
    fitting = (k for k, width in enumerate(widths) if width <= share * widths[0] * (1 + 1e-12))
    return next(fitting, len(widths) - 1)


def some(path: Sequence[tuple[float, ...]], most: int) -> list[tuple[float, ...]]:
    """At most this many of the different structures of a path, evenly spaced, the first and the last among them."""
    distinct = list(dict.fromkeys(path))
    count = min(most, len(distinct))
    return [distinct[round(k * (len(distinct) - 1) / max(1, count - 1))] for k in range(count)]
