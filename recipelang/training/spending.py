"""How long a training is that may spend the FLOPs of another network's: the control `scratch-B`."""

from __future__ import annotations

from dataclasses import replace

from recipelang.measuring.flops import count
from recipelang.plan import Needs, Training, lengthened
from recipelang.surgery.network import Network
from recipelang.surgery.provenance import memory_of
from recipelang.surgery.tracing import example_input


def settled(needs: Needs, network: Network, other: Network | None) -> Needs:
    """What a step asks for, with the length that its training has on this network.

    Args:
        needs: of the step.
        network: that it trains.
        other: the state whose FLOPs it spends; None where it is not known yet: the length is then the written one.

    Raises:
        Refusal: RCP0730: the operations of one of the two cannot be counted.
    """
    if not needs.spends or needs.training is None or other is None:
        return needs
    return replace(needs, training=lengthened(needs.training, 1 / cost(network, other)))


def cost(network: Network, other: Network) -> float:
    """FLOPs of an image as a part of another network's, the same for each step of a training.

    Raises:
        Refusal: RCP0730: the operations of one of the two cannot be counted.
    """
    return flops(network) / flops(other)


def spent(training: Training, part: float) -> str:
    """What a training spends, in words.

    Args:
        training: as written.
        part: FLOPs of an image as a part of the other network's.
    """
    return f"as many FLOPs as healthy in {training.duration}, since an image takes {part:.3g} of healthy's"


def foreseen(needs: Needs, network: Network, other: Network | None) -> tuple[str, ...]:
    """How long a training is that spends the FLOPs of another network's, for a plan; arguments as of `settled`.

    Raises:
        Refusal: RCP0730: the operations of one of the two cannot be counted.
    """
    if not needs.spends or needs.training is None:
        return ()
    if other is None:
        return (f"trains for the FLOPs of {needs.spends} in {needs.training.duration}: how long is known by running",)
    longer = settled(needs, network, other).training
    assert longer
    return (f"trains for {longer.duration}, {spent(needs.training, cost(network, other))}",)


def flops(network: Network) -> float:
    """FLOPs of one image in evaluation, without the products with weights that masks hold at zero.

    Raises:
        Refusal: RCP0730: the network's operations cannot be counted.
    """
    masks = network.masks
    kept = {
        memory_of(parameter): float(masks[name].keep.float().mean())
        for name, parameter in network.module.named_parameters(remove_duplicate=False)
        if name in masks
    }
    return count(network.module, example_input(network, batch=1), kept).flops
