"""What a training optimizer method must offer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch
    from torch import nn


class Optimizer(Protocol):
    """`with sgd(lr=0.1)`."""

    lr: Any  # a number or a Ramp

    def build(self, module: nn.Module) -> torch.optim.Optimizer:
        """The torch optimizer over the module's parameters."""
