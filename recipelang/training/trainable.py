"""What trains of a network, and whether there is anything that does, before a step is taken."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from recipelang.errors import Refusal
from recipelang.plan import Selection
from recipelang.surgery.network import Network
from recipelang.surgery.selectors import resolve

NORMS = (nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm)


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


@contextmanager
def training_only(module: nn.Module, trains: Selection | None) -> Iterator[tuple[nn.Module, ...]]:
    """Inside the block only the parameters of the selected modules have gradients; afterwards those that had.

    Args:
        module: the network that trains.
        trains: the modules that train; None is all of them.

    Yields:
        The BatchNorm layers outside, whose statistics are to stay as they are.

    Raises:
        Refusal: RCP0703: an entry of the selection matches nothing; RCP0725: nothing inside has gradients.
    """
    if trains is None:
        yield ()
        return
    chosen = set(resolve(module, trains)) | (set() if trains.include else {""})
    parts = dict(module.named_modules())
    inside = {id(p) for path in chosen for p in parts[path].parameters(recurse=False)}
    frozen = [p for p in module.parameters() if p.requires_grad and id(p) not in inside]
    if not any(p.requires_grad for p in module.parameters() if id(p) in inside):
        raise nothing_trains("what `in` and `except` select has no parameters with gradients")
    try:
        for parameter in frozen:
            parameter.requires_grad_(False)
        yield tuple(part for path, part in parts.items() if isinstance(part, NORMS) and path not in chosen)
    finally:
        for parameter in frozen:
            parameter.requires_grad_(True)


def nothing_trains(why: str) -> Refusal:
    """The refusal of a training that would change nothing."""
    return Refusal(
        "RCP0725",
        f"there is nothing to train: {why}",
        "remove `requires_grad_(False)` and `torch.no_grad()` from the parts of the network to be trained",
    )
