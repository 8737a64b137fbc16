"""The optimizer `nadam`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recipelang.catalogue import method, setting
from recipelang.lazy import torch
from recipelang.methods.optimizers._groups import first_lr

if TYPE_CHECKING:
    from torch import nn


@method("optimizer", "nadam")
@dataclass(frozen=True)
class NAdam:
    """NAdam: Adam whose momentum looks one step ahead.

    What: in the place of `adam`, often a little faster at the start.
    Formula: as `adam`, with μ_{t+1}·m / (1 − Π_{t+1} μ) + (1 − μ_t)·g / (1 − Π_t μ) in the place of m̂, where
    μ_t = β1·(1 − 0.5·0.96^(0.004·t)).
    When it misleads: as `adam`: unless `decoupled`, weight decay is weak for weights with large gradients.
    Source: Dozat 2016; `torch.optim.NAdam`.
    """

    lr: Any = setting(2e-3, type="number", low=0, ramp=True, help="Learning rate.")
    beta1: float = setting(0.9, type="number", low=0, high=0.9999, help="Memory of the mean gradient.")
    beta2: float = setting(0.999, type="number", low=0, high=0.999999, help="Memory of the squared gradient.")
    weight_decay: float = setting(0.0, type="number", low=0, help="L2 penalty.")
    decoupled: bool = setting(False, type="boolean", help="Whether weights decay apart from the gradient.")

    def build(self, module: nn.Module) -> torch.optim.Optimizer:
        """The torch optimizer over the parameters that train."""
        return torch.optim.NAdam(
            [p for p in module.parameters() if p.requires_grad],
            lr=first_lr(self.lr),
            betas=(self.beta1, self.beta2),
            weight_decay=self.weight_decay,
            decoupled_weight_decay=self.decoupled,
        )
