"""The alternating steps of ECC: weights, widths, and the multipliers between them.

    min over W, u   loss(W)     such that   φ_j(W) ≤ u_j for every group,   cost(u) ≤ 1

φ_j is the share of group j's parts whose weights are not all zero, u_j the share that it may keep, and the cost a part
of its bound. The augmented Lagrangian adds y·(φ − u) + ρ_y/2·‖[φ − u]₊‖² + z·(cost(u) − 1) + ρ_z/2·[cost(u) − 1]₊².
Source: Yang, Zhu, Liu, "ECC", CVPR 2019, sections 3.2 and 3.3, with shares in place of numbers of channels, and parts
that go in a given order in place of that of their norms.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from recipelang.searching.bilinear import BilinearCost


@dataclass(frozen=True)
class Factors:
    """The factors of the augmented Lagrangian, and the rate at which the widths descend.

    Attributes:
        width: of every group ρ_y, for keeping more parts than it may.
        cost: ρ_z, for a cost above its bound.
        rate: of the width of every group.
    """

    width: tuple[float, ...]
    cost: float
    rate: tuple[float, ...]


def factors(width: float, cost: float, rate: float, prices: Tensor) -> Factors:
    """Factors for groups of different prices, as if widths were counted in what they cost.

    A stream that every layer reads costs many times what a group inside a block does. In shares alone its width would
    be the only one that moves; in proportion to price, all move alike until multipliers tell them apart.

    Args:
        prices: n: the slope of the cost of the whole network.
    """
    scale = (prices / prices.mean().clamp_min(1e-12)).clamp_min(1e-3)
    return Factors(tuple((width * scale).tolist()), cost, tuple((rate / scale).tolist()))


def kept_after(norms: Tensor, widths: Tensor, allowed: float, price: float, factor: float) -> int:
    """The step of the weights of one group: after how many of its steps the rest stays.

    The number k that minimises lost(k) + price·φ(k) + factor/2·[φ(k) − allowed]₊², among those that leave no less than
    is allowed: lost(k) is the norm of everything that the first k steps set to zero.

    Args:
        norms: one for each step: what its parts hold, ‖w‖² in a unit of the caller's.
        widths: one more: φ after 0, 1, … steps.
        allowed: u. `price`: y. `factor`: ρ_y.
    """
    lost = torch.cat([norms.new_zeros(1), norms.cumsum(0)])
    total = lost + price * widths + factor / 2 * (widths - allowed).clamp_min(0) ** 2
    return int(total[: narrowest(widths, allowed) + 1].argmin())


def narrowest(widths: Tensor, allowed: float) -> int:
    """The largest number of steps that leave no less than is allowed; 0 where none does."""
    return max(0, int((widths >= allowed - 1e-9).sum()) - 1)


@dataclass(frozen=True)
class Multipliers:
    """y of every group and z of the cost."""

    width: Tensor
    cost: Tensor


def slope(used: Tensor, allowed: Tensor, now: Multipliers, cost: BilinearCost, by: Factors) -> Tensor:
    """n: the derivative of the augmented Lagrangian by the shares u.

    Args:
        used, allowed: n: φ and u.
    """
    over = (cost(allowed) - 1).clamp_min(0)
    held = now.width + torch.tensor(by.width).to(used) * (used - allowed).clamp_min(0)
    return (now.cost + by.cost * over) * cost.slope(allowed) - held


def descended(
    used: Tensor, allowed: Tensor, now: Multipliers, cost: BilinearCost, by: Factors, least: Tensor
) -> Tensor:
    """The step of the widths: down the slope, and no group below its least share."""
    down = allowed - torch.tensor(by.rate).to(used) * slope(used, allowed, now, cost, by)
    return torch.maximum(down, least).clamp_max(1)


def ascended(
    used: Tensor, reached: Tensor, allowed: Tensor, now: Multipliers, cost: BilinearCost, by: Factors
) -> Multipliers:
    """The step of the multipliers: up by what violates the constraints, never below zero.

    Args:
        used: n: φ. `reached`: n: the nearest width that a group may have from u up, which φ comes down to.
        allowed: n: u.
    """
    width = (now.width + torch.tensor(by.width).to(used) * (used - reached)).clamp_min(0)
    return Multipliers(width, (now.cost + by.cost * (cost(allowed) - 1)).clamp_min(0))
