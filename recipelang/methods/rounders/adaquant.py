"""`adaquant(steps=1000, lr=0.01)`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from recipelang.catalogue import method, setting
from recipelang.kinds import LAYER, Piece, Progress, Rounded
from recipelang.lazy import torch
from recipelang.methods.rounders._learned import descend, unreached
from recipelang.methods.rounders._uniform import limits_of, on_grid, step_of

if TYPE_CHECKING:
    from torch import Tensor


@method("rounder", "adaquant")
@dataclass(frozen=True)
class AdaQuant:
    """Weights and the step of their grid are learned together, so that the output of the layer stays.

    What: unlike `adaround`, a weight may go further than to its two neighbours, and the grid itself changes.
    Formula: min over V and s of mean ‖f(W x) - f(Q_s(W + V) x̂)‖², Q_s(W) = s · clip(round(W / s)), by Adam with
        straight-through gradients: ∂Q/∂W = 1 inside the range, ∂Q/∂s = Q/s - W/s inside and the last integer outside.
        One weight after another, x̂ what enters once the layers before are rounded.
    Shapes: as `adaround`; s as the scales of the grid. V is learned in steps of the grid, and log s.
    Needs: `on train(samples=512)`, without labels; one pass for each weight, up to that weight, and a uniform grid.
        The steps of activations, which the source learns too, come from their quantizer, observed afterwards.
    When it misleads: weights may go anywhere, so it overfits few images sooner than `adaround`.
    Source: Hubara et al., "Improving Post Training Neural Quantization: Layer-wise Calibration and Integer
        Programming", 2020, arXiv:2006.10518, equation 2.
    """

    looks_at_data: ClassVar[bool] = True
    uniform: ClassVar[bool] = True
    unit: ClassVar[str] = LAYER

    steps: int = setting(1000, type="integer", low=1, positional=True, help="Steps of Adam for each weight.")
    lr: float = setting(0.01, type="number", low=0, open_low=True, help="Learning rate of the weights, in steps.")
    scale_lr: float = setting(0.001, type="number", low=0, help="Learning rate of log s.")

    def round(self, piece: Piece, progress: Progress) -> Rounded:
        """Learned values on learned grids; the nearest ones where nothing enters the weight."""
        if not piece.batches:
            return unreached(piece)
        learning = {name: _Learning(value, piece.grids[name]) for name, value in piece.weights.items()}
        groups = [
            {"params": [one.moved for one in learning.values()], "lr": self.lr},
            {"params": [one.log for one in learning.values()], "lr": self.scale_lr},
        ]
        descend(piece, progress, torch.optim.Adam(groups), self.steps, learning)
        grids = {name: one.grid() for name, one in learning.items()}
        with torch.no_grad():
            steps = {name: one.whole() for name, one in learning.items()}
        return Rounded(on_grid(piece, steps, grids), grids=grids)


class _Learning:
    """A weight, and the scales of its grid, that are learned."""

    def __init__(self, weight: Tensor, grid: Any) -> None:
        self._weight, self._grid = weight, grid
        self._step, (self._low, self._high) = step_of(grid, weight), limits_of(grid, weight)
        self.moved = torch.zeros_like(weight).requires_grad_()
        self.log = torch.zeros_like(grid.scale).requires_grad_()

    def grid(self) -> Any:
        """With the scales as they are now."""
        return replace(self._grid, scale=(self._grid.scale * self.log.detach().exp()).contiguous())

    def value(self) -> Tensor:
        """On the grid, with gradients."""
        step = step_of(replace(self._grid, scale=self._grid.scale * self.log.exp()), self._weight)
        return self._rounded(step) * step

    def whole(self) -> Tensor:
        """Whole steps from zero."""
        return self._rounded(step_of(self.grid(), self._weight))

    def _rounded(self, step: Tensor) -> Tensor:
        wanted = (self._weight + self.moved * self._step) / step
        straight = wanted + (wanted.round() - wanted).detach()
        return torch.minimum(torch.maximum(straight, self._low), self._high)
