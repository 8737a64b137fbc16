"""`with clip(1.0)`: gradients no longer than a bound."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from recipelang.catalogue import method, setting
from recipelang.kinds import Companion, Moment
from recipelang.lazy import torch

if TYPE_CHECKING:
    from torch import nn


@method("companion", "clip")
@dataclass(frozen=True)
class Clip(Companion):
    """Gradient clipping: the gradient of a step is scaled down where it is longer than a bound.

    What: one batch with an unusual loss then moves the network no further than others; usual for transformers, with 1.
    Formula: g ← g · min(1, norm / ‖g‖₂), over the gradients of all parameters that train together: the network's, and
        those that losses and companions train along.
    Shapes: any.
    Control: trains with it too, as it belongs to the training and not to the surgery.
    When it misleads: a bound below the usual length of gradients is a smaller learning rate under another name; with
        `adam` the length of a gradient hardly matters, only its changes.
    Source: Pascanu, Mikolov and Bengio 2013, "On the difficulty of training recurrent neural networks", algorithm 1;
        `torch.nn.utils.clip_grad_norm_`.
    """

    ordinary: ClassVar[bool] = True

    norm: float = setting(1.0, type="number", low=0, open_low=True, positional=True, help="The longest that is kept.")

    def before_update(
        self, network: Any, optimizer: torch.optim.Optimizer, state: nn.Module | None, moment: Moment
    ) -> None:
        """Scale the gradients of everything that the optimizer trains, in place."""
        trained = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        torch.nn.utils.clip_grad_norm_(trained, self.norm)
