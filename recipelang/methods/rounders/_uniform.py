"""What rounders need of a uniform grid: its steps for every weight, and numbers on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recipelang.kinds import Piece, masked
from recipelang.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


def zero_of(grid: Any, like: Tensor) -> Tensor:
    """The integer that stands for zero, to be broadcast over the weight."""
    zero: Tensor = grid.spread(like.shape, like.device)[1]
    return zero


def step_of(grid: Any, like: Tensor) -> Tensor:
    """The distance between two numbers of the grid, to be broadcast over the weight; with gradients to `scale`."""
    step: Tensor = grid.spread(like.shape, like.device)[0]
    return step


def limits_of(grid: Any, like: Tensor) -> tuple[Tensor, Tensor]:
    """The smallest and the largest number of steps from zero, to be broadcast over the weight."""
    zero = zero_of(grid, like)
    return grid.scheme.low - zero, grid.scheme.high - zero


def on_grid(piece: Piece, steps: dict[str, Tensor], grids: Any = None) -> dict[str, Tensor]:
    """The numbers that are some whole steps from zero; zeros of masks are zeros.

    Args:
        steps: parameter name → whole numbers, within the limits.
        grids: other grids than the piece's.
    """
    grids = grids or piece.grids
    found = {}
    for name, whole in steps.items():
        found[name] = grids[name].values(whole.to(torch.int32) + zero_of(grids[name], whole))
    return masked(piece, found)
