"""Whether there is anything to train of a network, before a step is taken."""

from __future__ import annotations

from torch import nn

from recipelang.errors import Refusal
from recipelang.surgery.network import Network


def require_trainable(network: Network, batch: int) -> None:
    """Refuse a network that cannot be trained on batches of this many images.

    Raises:
        Refusal: RCP0725: nothing has gradients; RCP0814: BatchNorm cannot train on batches of one image.
    """
    if batch == 1 and any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in network.module.modules()):
        raise Refusal(
            "RCP0814",
            "BatchNorm cannot train on batches of one image: it would subtract the image from itself",
            "write `batch=32` in the data, or use more samples",
        )
    if not any(parameter.requires_grad for parameter in network.module.parameters()):
        raise nothing_trains("every parameter of the network is frozen")


def nothing_trains(why: str) -> Refusal:
    """The refusal of a training that would change nothing."""
    return Refusal(
        "RCP0725",
        f"there is nothing to train: {why}",
        "remove `requires_grad_(False)` and `torch.no_grad()` from the parts of the network to be trained",
    )
