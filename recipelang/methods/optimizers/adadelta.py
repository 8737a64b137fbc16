"""The optimizer `adadelta`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recipelang.catalogue import method, setting
from recipelang.lazy import torch
from recipelang.methods.optimizers._groups import first_lr

if TYPE_CHECKING:
    from torch import nn


@method("optimizer", "adadelta")
@dataclass(frozen=True)
class Adadelta:
    """Adadelta: steps in the units of the weights, without a learning rate to tune.

    What: for training where no learning rate is known; `lr` only scales the steps.
    Formula: s ← ρ·s + (1 − ρ)·g²;  Δ = √(u + ε) / √(s + ε) · g;  u ← ρ·u + (1 − ρ)·Δ²;  w ← w − lr·Δ, ε = 1e-6;
    weight decay is added to g.
    When it misleads: its first steps are tiny, since u begins at 0, so that in a short training it hardly moves.
    Source: Zeiler 2012; `torch.optim.Adadelta`.
    """

    lr: Any = setting(1.0, type="number", low=0, ramp=True, help="Factor of the steps.")
    rho: float = setting(0.9, type="number", low=0, high=0.9999, help="Memory of squared gradients and steps.")
    weight_decay: float = setting(0.0, type="number", low=0, help="L2 penalty.")

    def build(self, module: nn.Module) -> torch.optim.Optimizer:
        """The torch optimizer over the parameters that train."""
        return torch.optim.Adadelta(
            [p for p in module.parameters() if p.requires_grad],
            lr=first_lr(self.lr),
            rho=self.rho,
            weight_decay=self.weight_decay,
        )
