"""The optimizer `adagrad`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recipelang.catalogue import method, setting
from recipelang.lazy import torch
from recipelang.methods.optimizers._groups import first_lr

if TYPE_CHECKING:
    from torch import nn


@method("optimizer", "adagrad")
@dataclass(frozen=True)
class Adagrad:
    """Adagrad: every weight's step shrinks with the sum of its squared gradients.

    What: for sparse gradients, such as those of embeddings.
    Formula: s ← s + g²;  w ← w − lr / (1 + step·lr_decay) · g / (√s + 1e-10); weight decay is added to g.
    When it misleads: the sum only grows, so steps vanish in a long training.
    Source: Duchi, Hazan and Singer 2011; `torch.optim.Adagrad`.
    """

    lr: Any = setting(0.01, type="number", low=0, ramp=True, help="Learning rate.")
    lr_decay: float = setting(0.0, type="number", low=0, help="Decay of the learning rate with the steps.")
    weight_decay: float = setting(0.0, type="number", low=0, help="L2 penalty.")

    def build(self, module: nn.Module) -> torch.optim.Optimizer:
        """The torch optimizer over the parameters that train."""
        return torch.optim.Adagrad(
            [p for p in module.parameters() if p.requires_grad],
            lr=first_lr(self.lr),
            lr_decay=self.lr_decay,
            weight_decay=self.weight_decay,
        )
