"""The optimizer `adamax`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recipelang.catalogue import method, setting
from recipelang.lazy import torch
from recipelang.methods.optimizers._groups import first_lr

if TYPE_CHECKING:
    from torch import nn


@method("optimizer", "adamax")
@dataclass(frozen=True)
class Adamax:
    """Adamax: Adam with the largest gradient in the place of the root of squares.

    What: an Adam whose steps are bounded by the learning rate.
    Formula: m ← β1·m + (1 − β1)·g;  u ← max(β2·u, |g| + 1e-8);  w ← w − lr / (1 − β1^step) · m / u; weight decay is
    added to g.
    When it misleads: one very large gradient makes the steps of its weight small for about 1 / (1 − β2) steps.
    Source: Kingma and Ba 2015, section 7.1; `torch.optim.Adamax`.
    """

    lr: Any = setting(2e-3, type="number", low=0, ramp=True, help="Learning rate.")
    beta1: float = setting(0.9, type="number", low=0, high=0.9999, help="Memory of the mean gradient.")
    beta2: float = setting(0.999, type="number", low=0, high=0.999999, help="Memory of the largest gradient.")
    weight_decay: float = setting(0.0, type="number", low=0, help="L2 penalty.")

    def build(self, module: nn.Module) -> torch.optim.Optimizer:
        """The torch optimizer over the parameters that train."""
        return torch.optim.Adamax(
            [p for p in module.parameters() if p.requires_grad],
            lr=first_lr(self.lr),
            betas=(self.beta1, self.beta2),
            weight_decay=self.weight_decay,
        )
