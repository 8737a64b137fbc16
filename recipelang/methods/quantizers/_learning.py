"""What quantizers that learn share: symmetric weights, the range to begin with, and powers of two."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from recipelang.catalogue import setting
from recipelang.kinds import Observed, Quantizer, Scheme
from recipelang.lazy import torch
from recipelang.methods.quantizers._clipping import least_error

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Symmetric(Quantizer):
    """A quantizer whose weights lie symmetrically around zero, by default with one step; its ranges begin as they were
    seen, unless a method says otherwise."""

    per: str = setting(
        "tensor",
        type="word",
        choices=("tensor", "channel"),
        help="Whether the whole weight has one range, as in the paper, or each output channel has its own.",
    )

    def range(self, observed: Observed, scheme: Scheme) -> tuple[Tensor, Tensor]:
        """The extremes that were seen."""
        return observed.low, observed.high


def least_squares(observed: Observed, scheme: Scheme) -> tuple[Tensor, Tensor]:
    """The range of `mse` with its defaults."""
    return least_error(observed, scheme, norm=2.0, steps=100)


def keep_between(parameter: Tensor, low: Tensor, high: Tensor) -> None:
    """Clip a weight to its range, in place."""
    parameter.copy_(parameter.maximum(low).minimum(high))


def powers_of_two(top: Tensor, count: int, both: bool = True) -> Tensor:
    """(…) → (…, K): 0, and 2^n for the `count` integers n up to `top`, of both signs."""
    sizes = torch.exp2(top[..., None] - torch.arange(count, dtype=top.dtype, device=top.device))
    zero = torch.zeros_like(sizes[..., :1])
    return torch.cat([-sizes, zero, sizes] if both else [zero, sizes], -1).float()
