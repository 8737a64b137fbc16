"""The optimizer `radam`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recipelang.catalogue import method, setting
from recipelang.lazy import torch
from recipelang.methods.optimizers._groups import first_lr

if TYPE_CHECKING:
    from torch import nn


@method("optimizer", "radam")
@dataclass(frozen=True)
class RAdam:
    """RAdam: Adam without adaptive steps until its second moments can be trusted.

    What: in the place of `adam` with a warm-up.
    Formula: as `adam`, the step multiplied by √((ρ−4)(ρ−2)ρ∞ / ((ρ∞−4)(ρ∞−2)ρ)) once ρ > 5, where
    ρ∞ = 2 / (1 − β2) − 1 and ρ = ρ∞ − 2·t·β2^t / (1 − β2^t); before, w ← w − lr·m̂.
    When it misleads: its first steps are those of plain momentum, for which `lr` may be small.
    Source: Liu et al. 2020, algorithm 2; `torch.optim.RAdam`.
    """

    lr: Any = setting(1e-3, type="number", low=0, ramp=True, help="Learning rate.")
    beta1: float = setting(0.9, type="number", low=0, high=0.9999, help="Memory of the mean gradient.")
    beta2: float = setting(0.999, type="number", low=0, high=0.999999, help="Memory of the squared gradient.")
    weight_decay: float = setting(0.0, type="number", low=0, help="L2 penalty.")
    decoupled: bool = setting(False, type="boolean", help="Whether weights decay apart from the gradient.")

    def build(self, module: nn.Module) -> torch.optim.Optimizer:
        """The torch optimizer over the parameters that train."""
        return torch.optim.RAdam(
            [p for p in module.parameters() if p.requires_grad],
            lr=first_lr(self.lr),
            betas=(self.beta1, self.beta2),
            weight_decay=self.weight_decay,
            decoupled_weight_decay=self.decoupled,
        )
