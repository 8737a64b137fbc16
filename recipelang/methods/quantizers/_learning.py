"""What quantizers that learn share: symmetric weights, the range to begin with, and powers of two."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from recipelang.catalogue import setting
from recipelang.kinds import Quantizer
from recipelang.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

    from recipelang.kinds import Observed, Scheme


@dataclass(frozen=True)
class Symmetric(Quantizer):
    """A quantizer whose weights lie symmetrically around zero, by default with one step."""

    per: str = setting(
        "tensor",
        type="word",
        choices=("tensor", "channel"),
        help="Whether the whole weight has one range, as in the paper, or each output channel has its own.",
    )


def least_error(observed: Observed, scheme: Scheme, shares: int = 60) -> tuple[Tensor, Tensor]:
    """The range, of `shares` equal parts of the observed one, whose grid has the least mean squared error."""
    from recipelang.surgery.restrictions.grid import Grid

    values = observed.values
    if values is None:
        return observed.low, observed.high
    low, high = observed.low.float(), observed.high.float()
    rows = values.float().flatten(0, -2) if values.ndim > 1 else values.float()
    flat = replace(scheme, axis=0 if values.ndim > 1 else None, group=None)
    best, share = torch.full_like(high, torch.inf), torch.ones_like(high)
    for part in range(1, shares + 1):
        tried = part / shares
        ends = (low * tried, high * tried)
        grid = Grid.between(*(ends if values.ndim == 1 else (ends[0].flatten(), ends[1].flatten())), flat)
        error = (grid.apply(rows) - rows).square().mean(-1).view(high.shape)
        share = torch.where(error < best, torch.full_like(share, tried), share)
        best = torch.minimum(error, best)
    return low * share, high * share


def powers_of_two(top: Tensor, count: int, both: bool = True) -> Tensor:
    """(…) → (…, K): 0, and 2^n for the `count` integers n up to `top`, of both signs."""
    sizes = torch.exp2(top[..., None] - torch.arange(count, dtype=top.dtype, device=top.device))
    zero = torch.zeros_like(sizes[..., :1])
    return torch.cat([-sizes, zero, sizes] if both else [zero, sizes], -1).float()
