"""Small networks for 8×8 digits: linear layers alone, and a chain of convolutions."""

from __future__ import annotations

from torch import nn

from recipelang.nets.cifar_resnet import times

SIDE = 8
#: filters of the chain; the map is halved where they double
WIDTHS = (16, 16, 32, 32, 64, 64)


def digits_lenet(*, channels: int = 1, classes: int = 10, width: float = 1.0) -> nn.Sequential:
    """LeNet-300-100: B×C×H×W → B×classes, larger images by the means of 8×8 areas; `width` times as many neurons."""
    first, second = times((300, 100), width)
    return nn.Sequential(
        nn.AdaptiveAvgPool2d(SIDE),
        nn.Flatten(),
        nn.Linear(channels * SIDE * SIDE, first),
        nn.ReLU(),
        nn.Linear(first, second),
        nn.ReLU(),
        nn.Linear(second, classes),
    )


def digits_vgg(*, channels: int = 1, classes: int = 10, width: float = 1.0) -> nn.Sequential:
    """Six convolutions with BatchNorm, the mean over places, a linear layer: B×C×H×W → B×classes.

    Args:
        channels: of the images.
        classes: number of outputs.
        width: how many times as many filters.
    """
    layers: list[nn.Module] = []
    before = channels
    for number, (usual, filters) in enumerate(zip(WIDTHS, times(WIDTHS, width), strict=True)):
        if number and usual > WIDTHS[number - 1]:
            layers.append(nn.MaxPool2d(2))
        layers += [nn.Conv2d(before, filters, 3, padding=1, bias=False), nn.BatchNorm2d(filters), nn.ReLU()]
        before = filters
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, classes))
