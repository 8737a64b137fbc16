"""The optimizer `sgd`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recipelang.catalogue import method, setting
from recipelang.errors import SettingError
from recipelang.lazy import torch
from recipelang.methods.optimizers._groups import first_lr

if TYPE_CHECKING:
    from torch import nn


@method("optimizer", "sgd")
@dataclass(frozen=True)
class Sgd:
    """Stochastic gradient descent with momentum.

    What: the usual optimizer for convolutional networks.
    Formula: g ← ∂L/∂w + decay·w;  v ← momentum·v + g;  w ← w − lr·v  (nesterov: w ← w − lr·(g + momentum·v)).
    Weight decay acts on every parameter, as in He et al. 2016.
    When it misleads: `lr` depends on the scale of the loss; a loss that is ten times as large needs a tenth of it.
    Source: Sutskever et al. 2013; `torch.optim.SGD`.
    """

    lr: Any = setting(0.01, type="number", low=0, ramp=True, help="Learning rate.")
    momentum: float = setting(0.9, type="number", low=0, high=1, help="Share of the last direction that is kept.")
    weight_decay: float = setting(5e-4, type="number", low=0, help="L2 penalty.")
    nesterov: bool = setting(False, type="boolean", help="Whether the gradient is taken one step ahead.")

    def __post_init__(self) -> None:
        if self.nesterov and not self.momentum:
            raise SettingError("nesterov", "`nesterov` needs momentum, and it is 0", "write `momentum=0.9`")

    def build(self, module: nn.Module) -> torch.optim.Optimizer:
        """The torch optimizer over the parameters that train."""
        return torch.optim.SGD(
            [p for p in module.parameters() if p.requires_grad],
            lr=first_lr(self.lr),
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            nesterov=self.nesterov,
        )
