"""The optimizer `adafactor`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recipelang.catalogue import method, setting
from recipelang.lazy import torch
from recipelang.methods.optimizers._groups import first_lr

if TYPE_CHECKING:
    from torch import nn


@method("optimizer", "adafactor")
@dataclass(frozen=True)
class Adafactor:
    """Adafactor: Adam's second moments, kept as means of rows and columns.

    What: for large matrices, whose state is then a row and a column instead of a matrix.
    Formula: v = R·Cᵀ / mean(R), R and C the running means of g² over columns and rows, g² itself for vectors; the
    memory at step t is 1 − t^−0.8;  u = g / √v, divided by max(1, RMS(u) / clip);  w ← w − min(lr, 1/√t)·max(1e-3,
    RMS(w))·u; weights decay apart from the gradient.
    When it misleads: `lr` is relative to the size of each weight, not absolute; kernels of convolutions gain
    little memory.
    Source: Shazeer and Stern 2018, algorithms 4 and 5; `torch.optim.Adafactor`.
    """

    lr: Any = setting(0.01, type="number", low=0, ramp=True, help="Learning rate, relative to the size of the weights.")
    clip: float = setting(1.0, type="number", low=1, help="Largest root mean square of a step.")
    weight_decay: float = setting(0.0, type="number", low=0, help="Decay, apart from the gradient.")

    def build(self, module: nn.Module) -> torch.optim.Optimizer:
        """The torch optimizer over the parameters that train."""
        return torch.optim.Adafactor(
            [p for p in module.parameters() if p.requires_grad],
            lr=first_lr(self.lr),
            d=self.clip,
            weight_decay=self.weight_decay,
        )
