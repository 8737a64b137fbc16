"""The optimizer `adamw`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from recipelang.catalogue import method, setting
from recipelang.lazy import torch
from recipelang.methods.optimizers._groups import decay_groups, first_lr

if TYPE_CHECKING:
    from torch import nn


@method("optimizer", "adamw")
@dataclass(frozen=True)
class AdamW:
    """Adam with weight decay decoupled from the gradient.

    What: the usual optimizer for transformers.
    Formula: as `adam` without decay, and in addition w ← w − lr·decay·w, for the weights that activations are
    multiplied by: those of linear, convolutional, attention and recurrent layers. As is usual for transformers, biases,
    scales and shifts of norms, layer scales, class tokens, position embeddings and tables of position biases do not
    decay. Of the parameters outside such layers, those with two axes longer than 1 and a first axis longer than 1
    decay, unless `bias`, `embed` or `token` is in their name.
    When it misleads: the decay is multiplied by `lr`, so a small learning rate needs a large decay (0.05 to 0.1).
    Source: Loshchilov and Hutter 2019; `torch.optim.AdamW`.
    """

    lr: Any = setting(1e-3, type="number", low=0, ramp=True, help="Learning rate.")
    beta1: float = setting(0.9, type="number", low=0, high=0.9999, help="Memory of the mean gradient.")
    beta2: float = setting(0.999, type="number", low=0, high=0.999999, help="Memory of the squared gradient.")
    weight_decay: float = setting(0.01, type="number", low=0, help="Decay of matrices and kernels.")
    #: raised when different parameters decay than before, so that stored training by the old groups is not reused
    groups: int = field(default=2, init=False, repr=False)

    def build(self, module: nn.Module) -> torch.optim.Optimizer:
        """The torch optimizer over the parameters that train, in two groups: with decay and without."""
        return torch.optim.AdamW(
            decay_groups(module, self.weight_decay), lr=first_lr(self.lr), betas=(self.beta1, self.beta2)
        )
