"""What the optimizers share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recipelang.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor, nn


def first_lr(lr: Any) -> float:
    """The number that the optimizer is built with; the training loop sets the ramp's value at every step."""
    return lr.value_at(0, 1, 1) if hasattr(lr, "value_at") else float(lr)


#: parts of the names of tables and tokens that are looked up or added, never multiplied by an activation
ADDED = ("bias", "embed", "token")


def decay_groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """The parameters that train, in two groups, first those for which `decays` is true; empty groups are left out."""
    weights = weights_of(module)
    trained = [p for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if id(p) in weights], "weight_decay": weight_decay},
        {"params": [p for p in trained if id(p) not in weights], "weight_decay": 0.0},
    ]
    return [g for g in groups if g["params"]]


def weights_of(module: nn.Module) -> set[int]:
    """The parameters for which `decays` is true in any of the modules that share them, by identity."""
    return {
        id(parameter)
        for owner in module.modules()
        for name, parameter in owner.named_parameters(recurse=False)
        if decays(owner, name, parameter)
    }


def decays(owner: nn.Module, name: str, parameter: Tensor) -> bool:
    """Whether a parameter decays: activations are multiplied by it, and it is neither added to them nor scales them.

    Args:
        owner: the module that holds it.
        name: in that module.
        parameter: of any shape.

    Returns:
        True for the weights of torch's linear, convolutional, attention and recurrent layers; of all others, which a
        network holds outside such layers, for those with two axes longer than 1 and a first axis longer than 1
        (along an axis of 1 an embedding is added to every image of a batch), unless the name holds one of `ADDED`.
    """
    nn = torch.nn
    if isinstance(owner, nn.Embedding | nn.EmbeddingBag):
        return False
    products = (nn.Linear, nn.Bilinear, nn.modules.conv._ConvNd, nn.MultiheadAttention, nn.RNNBase, nn.RNNCellBase)
    if isinstance(owner, products) and "weight" in name:
        return parameter.ndim > 1 and not name.endswith("_g")  # the lengths of a weight norm scale
    several = sum(length > 1 for length in parameter.shape) > 1
    return several and parameter.shape[0] > 1 and not any(word in name for word in ADDED)
