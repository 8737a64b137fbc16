"""The optimizer `rprop`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from recipelang.catalogue import method, setting
from recipelang.lazy import torch

if TYPE_CHECKING:
    from torch import nn


@method("optimizer", "rprop")
@dataclass(frozen=True)
class Rprop:
    """Rprop: steps that follow the sign of the gradient, not its size.

    What: for training on all images at once, in batches as large as the data.
    Formula: the step of a weight is multiplied by `grow` while the sign of its gradient stays, and by `shrink` where it
    changes, between 1e-6 and 50; w ← w − step·sign(g); where the sign changed, the weight stays for one step.
    When it misleads: in small batches signs change by chance, and steps shrink to nothing. `lr` is only the
    first step, so it is no ramp.
    Source: Riedmiller and Braun 1993; `torch.optim.Rprop`.
    """

    lr: float = setting(0.01, type="number", low=0, help="First step of every weight.")
    shrink: float = setting(0.5, type="number", low=0.001, high=0.999, help="Factor where the sign changes.")
    grow: float = setting(1.2, type="number", low=1.001, high=10, help="Factor where it stays.")

    def build(self, module: nn.Module) -> torch.optim.Optimizer:
        """The torch optimizer over the parameters that train."""
        return torch.optim.Rprop(
            [p for p in module.parameters() if p.requires_grad],
            lr=self.lr,
            etas=(self.shrink, self.grow),
        )
