"""The optimizer `adam`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recipelang.catalogue import method, setting
from recipelang.lazy import torch
from recipelang.methods.optimizers._groups import first_lr

if TYPE_CHECKING:
    from torch import nn


@method("optimizer", "adam")
@dataclass(frozen=True)
class Adam:
    """Adam: every weight has its own step size.

    What: trains without much tuning of the learning rate.
    Formula: m ← β1·m + (1 − β1)·g;  v ← β2·v + (1 − β2)·g²;  w ← w − lr·m̂ / (√v̂ + 1e-8), m̂ and v̂ corrected
    for their start from zero; weight decay is added to g, for every parameter.
    When it misleads: that decay is weak for weights with large gradients; for weight decay, use `adamw`.
    Source: Kingma and Ba 2015; `torch.optim.Adam`.
    """

    lr: Any = setting(1e-3, type="number", low=0, ramp=True, help="Learning rate.")
    beta1: float = setting(0.9, type="number", low=0, high=0.9999, help="Memory of the mean gradient.")
    beta2: float = setting(0.999, type="number", low=0, high=0.999999, help="Memory of the squared gradient.")
    weight_decay: float = setting(0.0, type="number", low=0, help="L2 penalty.")

    def build(self, module: nn.Module) -> torch.optim.Optimizer:
        """The torch optimizer over the parameters that train."""
        return torch.optim.Adam(
            [p for p in module.parameters() if p.requires_grad],
            lr=first_lr(self.lr),
            betas=(self.beta1, self.beta2),
            weight_decay=self.weight_decay,
        )
