"""MorphNet's two halves: the derivative of a penalty by what each part costs, and a multiplier for all widths.

Source: Gordon et al., "MorphNet: fast & simple resource-constrained structure learning of deep networks", CVPR 2018,
equations 3 to 5 and algorithm 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from recipelang.searching.bilinear import BilinearCost
from recipelang.searching.bisection import bisected
from recipelang.searching.blocks import Blocks


def part_prices(alive: Tensor, blocks: Sequence[Blocks], cost: BilinearCost) -> Tensor:
    """n: by how much a part of each group becomes shorter, as a share of its length: the most is 1.

    The derivative by |γ| of the penalty G = Σ single_j·m_j + Σ both_ij·(m_i·A_j + A_i·m_j), over the length of a part;
    m_j is the mean of |γ| in group j, A_j the share of its parts that are alive. Over the M layers that share a part
    (group lasso), its length is √M times that of a single scale.

    Args:
        alive: n: A.
        blocks: of each group.
        cost: of the network, as a function of the shares that groups keep: Σ single_j·A_j + Σ both_ij·A_i·A_j.
    """
    lengths = torch.tensor([block.size * max(1, len(block.places)) ** 0.5 for block in blocks], dtype=torch.float64)
    each = cost.slope(alive).clamp_min(0) / lengths
    most = float(each.max())
    return each / most if most > 0 else torch.ones_like(each)


def pull(step: int, total: int) -> float:
    """How much shorter the most expensive parts become in an update: more in each, twice their length in all of them.

    λ grows, so that parts with small norms go before parts with large ones, whatever the scale of the loss.
    """
    return 4 * (step + 1) / total**2


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

    # The smallest factor is taken where none meets it; `over` is the first that does not, if there is one.
    over = bisected(lambda k: not met(steps(factors[k])), 0, len(factors))
    found, almost = factors[over - 1], factors[min(over, len(factors) - 1)]
    return found, _rounded_up(steps(found), [share * almost for share in shares], widths, met)


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
