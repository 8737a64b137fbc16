"""The embedded network: a residual network for 8×8 digits that trains in seconds."""

from __future__ import annotations

from recipelang.nets.cifar_resnet import SmallResNet, times

BLOCKS = (5, 5)
WIDTHS = (16, 32)


def digits_resnet(*, channels: int = 1, classes: int = 10, width: float = 1.0) -> SmallResNet:
    """Ten basic blocks, five of 16 filters at full size and five of 32 at half: nine of them can be removed.

    Args:
        channels: of the images.
        classes: number of outputs.
        width: how many times as many filters.
    """
    return SmallResNet(BLOCKS, times(WIDTHS, width), channels, classes)
