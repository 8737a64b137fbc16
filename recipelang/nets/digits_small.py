"""Small networks for 8×8 digits: linear layers alone, and a chain of convolutions."""

from __future__ import annotations

from torch import nn

SIDE = 8
#: filters of the chain; the map is halved where they double
WIDTHS = (16, 16, 32, 32, 64, 64)


def digits_lenet(*, channels: int = 1, classes: int = 10) -> nn.Sequential:
    """LeNet-300-100: B×C×H×W → B×classes, larger images by the means of 8×8 areas."""
    return nn.Sequential(
        nn.AdaptiveAvgPool2d(SIDE),
        nn.Flatten(),
        nn.Linear(channels * SIDE * SIDE, 300),
        nn.ReLU(),
        nn.Linear(300, 100),
        nn.ReLU(),
        nn.Linear(100, classes),
    )


def digits_vgg(*, channels: int = 1, classes: int = 10) -> nn.Sequential:
    """Six convolutions with BatchNorm, the mean over places, a linear layer: B×C×H×W → B×classes."""
    layers: list[nn.Module] = []
    before = channels
    for number, width in enumerate(WIDTHS):
        if number and width > before:
            layers.append(nn.MaxPool2d(2))
        layers += [nn.Conv2d(before, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        before = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, classes))
