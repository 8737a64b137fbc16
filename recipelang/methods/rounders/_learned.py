"""Rounding that is learned: up or down for every weight, so that what a piece computes stays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from recipelang.kinds import Piece, Progress, Rounded, nearest
from recipelang.lazy import torch
from recipelang.methods.rounders._uniform import limits_of, on_grid, step_of

if TYPE_CHECKING:
    from torch import Tensor

#: the rectified sigmoid reaches 0 and 1: it is a sigmoid stretched to LOW…HIGH and clipped
LOW, HIGH = -0.1, 1.1
#: the exponent of the regulariser, from the first to the last step after the warm-up
SOFT, HARD = 20.0, 2.0
#: of the steps, in which the regulariser does not count yet
WARM_UP = 0.2
#: steps where a few are enough
BRIEF = 2


def rectified(variable: Tensor) -> Tensor:
    """h(V) = clip(σ(V)·(ζ - γ) + γ, 0, 1): how far a weight is rounded up."""
    return (torch.sigmoid(variable) * (HIGH - LOW) + LOW).clamp(0, 1)


def inverse(share: Tensor) -> Tensor:
    """V such that h(V) is a number in 0…1."""
    return -torch.log((HIGH - LOW) / (share - LOW) - 1)


def undecided(variable: Tensor, beta: float) -> Tensor:
    """Σ 1 - |2 h(V) - 1|^β: zero where every weight is rounded down or up."""
    return (1 - (2 * rectified(variable) - 1).abs() ** beta).sum()


def beta_at(done: float) -> float:
    """The exponent after a part of the steps; the warm-up is over."""
    return HARD + (SOFT - HARD) * max(0.0, 1 - (done - WARM_UP) / (1 - WARM_UP))


class Soft:
    """A weight between two neighbours on its grid.

    Args:
        weight: in full precision.
        grid: uniform.
    """

    def __init__(self, weight: Tensor, grid: Any) -> None:
        self._step = step_of(grid, weight)
        self._low, self._high = limits_of(grid, weight)
        self._floor = (weight / self._step).floor()
        self.variable = inverse((weight / self._step - self._floor).clamp(0, 1)).requires_grad_()

    def value(self) -> Tensor:
        """s · clip(⌊w/s⌋ + h(V)): with gradients."""
        return self._clipped(rectified(self.variable)) * self._step

    def steps(self) -> Tensor:
        """Whole steps from zero: up where h(V) is at least a half."""
        return self._clipped((rectified(self.variable.detach()) >= 0.5).to(self._floor.dtype))

    def _clipped(self, share: Tensor) -> Tensor:
        return torch.minimum(torch.maximum(self._floor + share, self._low), self._high)


def error(piece: Piece, values: Mapping[str, Tensor], batch: int, weighted: bool, energy: float) -> Tensor:
    """Σ over channels of the squared error, mean over samples and places; relative to the energy of what is wanted.

    Args:
        weighted: by the sensitivity of the loss.
        energy: mean square of what is wanted.
    """
    wanted = piece.wanted(batch)
    squares = (piece.computed(values, batch) - wanted).square()
    if weighted:
        squares = squares * piece.sensitivity(batch)
    channels = wanted.shape[-1] if wanted.ndim == 3 else wanted.shape[1]
    return squares.mean() * (channels / energy)


def energy_of(piece: Piece) -> float:
    """The mean square of what is wanted; 1 where all of it is zero."""
    found = sum(float(piece.wanted(batch).square().mean()) for batch in range(piece.batches)) / max(1, piece.batches)
    return found or 1.0


def unreached(piece: Piece) -> Rounded:
    """What a rounder that learns answers of a piece that nothing enters."""
    return Rounded(nearest(piece), left=dict.fromkeys(piece.weights, "no input reaches it"))


def learned(piece: Piece, progress: Progress, *, steps: int, lr: float, weight: float, weighted: bool) -> Rounded:
    """New values of all weights of a piece, rounded up or down; the nearest ones where nothing enters it.

    Args:
        steps: of Adam.
        lr: its learning rate.
        weight: of the regulariser.
        weighted: whether errors count by the sensitivity of the loss.
    """
    if not piece.batches:
        return unreached(piece)
    soft = {name: Soft(value, piece.grids[name]) for name, value in piece.weights.items()}
    adam = torch.optim.Adam([one.variable for one in soft.values()], lr)

    def regulariser(done: float) -> Tensor | float:
        if done < WARM_UP:
            return 0.0
        return weight * sum(undecided(one.variable, beta_at(done)) for one in soft.values())

    descend(piece, progress, adam, steps, soft, weighted=weighted, beside=regulariser)
    return Rounded(on_grid(piece, {name: one.steps() for name, one in soft.items()}))


def descend(
    piece: Piece,
    progress: Progress,
    adam: torch.optim.Optimizer,
    steps: int,
    learning: Mapping[str, Any],
    *,
    weighted: bool = False,
    beside: Callable[[float], Tensor | float] = lambda done: 0.0,
) -> None:
    """Steps that bring what a piece computes nearer to what is wanted, each with one of its batches.

    Args:
        adam: of what is learned.
        steps: how many, unless a few are enough.
        learning: parameter name → what gives its value, with gradients: `value()`.
        weighted: whether errors count by the sensitivity of the loss.
        beside: the part of the steps that are done → what is added to the error.
    """
    draw = torch.Generator().manual_seed(piece.seed)
    steps, energy = min(steps, BRIEF) if piece.brief else steps, energy_of(piece)
    if weighted:
        piece.sensitivity(0)  # the pass that finds them all has a progress of its own
    progress.start(f"rounding `{piece.name}`", steps)
    try:
        for step in range(steps):
            batch = int(torch.randint(piece.batches, (), generator=draw))
            values = {name: one.value() * piece.keep.get(name, 1) for name, one in learning.items()}
            loss = error(piece, values, batch, weighted, energy) + beside(step / steps)
            adam.zero_grad()
            loss.backward()
            adam.step()
            progress.advance()
    finally:
        progress.stop()
