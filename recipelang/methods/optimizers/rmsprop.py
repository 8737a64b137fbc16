"""The optimizer `rmsprop`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recipelang.catalogue import method, setting
from recipelang.lazy import torch
from recipelang.methods.optimizers._groups import first_lr

if TYPE_CHECKING:
    from torch import nn


@method("optimizer", "rmsprop")
@dataclass(frozen=True)
class RMSprop:
    """RMSprop: gradients divided by the root of their mean square.

    What: the optimizer of MobileNet and EfficientNet, with momentum 0.9.
    Formula: s ← α·s + (1 − α)·g²;  v ← momentum·v + g / (√s + eps);  w ← w − lr·v; centred: √(s − ḡ²), ḡ the mean
    gradient; weight decay is added to g.
    When it misleads: s begins at 0, so the first steps are large; a warm-up or a large `eps` helps.
    Source: Hinton, Neural networks for machine learning, lecture 6e, 2012; `torch.optim.RMSprop`.
    """

    lr: Any = setting(0.01, type="number", low=0, ramp=True, help="Learning rate.")
    alpha: float = setting(0.99, type="number", low=0, high=0.9999, help="Memory of the squared gradient.")
    momentum: float = setting(0.0, type="number", low=0, high=1, help="Share of the last direction that is kept.")
    eps: float = setting(1e-8, type="number", low=0, open_low=True, help="Added to the root.")
    centered: bool = setting(False, type="boolean", help="Whether the mean gradient is taken off its square.")
    weight_decay: float = setting(0.0, type="number", low=0, help="L2 penalty.")

    def build(self, module: nn.Module) -> torch.optim.Optimizer:
        """The torch optimizer over the parameters that train."""
        return torch.optim.RMSprop(
            [p for p in module.parameters() if p.requires_grad],
            lr=first_lr(self.lr),
            alpha=self.alpha,
            momentum=self.momentum,
            eps=self.eps,
            centered=self.centered,
            weight_decay=self.weight_decay,
        )
