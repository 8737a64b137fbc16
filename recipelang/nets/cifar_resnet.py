"""The residual networks for small images of He et al. 2016, "Deep Residual Learning", section 4.2."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class BasicBlock(nn.Module):
    """relu(x + bn(conv(relu(bn(conv(x)))))), 3×3 convolutions.

    The shortcut has no parameters (option A): where the shape changes it takes every second pixel and pads the
    channels with zeros on both sides.

    Args:
        inputs, width: channels in and out.
        stride: of the first convolution.
    """

    def __init__(self, inputs: int, width: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.stride, self.grown = stride, width - inputs

    def forward(self, x: Tensor) -> Tensor:
        """B×inputs×H×W → B×width×H/stride×W/stride."""
        branch = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)), inplace=True)))
        return F.relu(branch + self.shortcut(x), inplace=True)

    def shortcut(self, x: Tensor) -> Tensor:
        """The input, in the shape of the output."""
        if self.stride == 1 and self.grown == 0:
            return x
        before = self.grown // 2
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, before, self.grown - before))


class SmallResNet(nn.Module):
    """conv – stages of basic blocks – mean over positions – linear.

    Every stage except the first starts with stride 2. Keys: `conv1`, `bn1`, `layer1.0.conv1`, …, `linear`.

    Args:
        blocks: basic blocks of each stage.
        widths: filters of each stage.
        channels: of the images.
        classes: number of outputs.
    """

    def __init__(self, blocks: tuple[int, ...], widths: tuple[int, ...], channels: int, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, widths[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        inputs = widths[0]
        for number, (count, width) in enumerate(zip(blocks, widths, strict=True), start=1):
            strides = [1 if number == 1 else 2] + [1] * (count - 1)
            stage = [BasicBlock(inputs if k == 0 else width, width, stride) for k, stride in enumerate(strides)]
            self.add_module(f"layer{number}", nn.Sequential(*stage))
            inputs = width
        self.linear = nn.Linear(inputs, classes)
        self.stages = len(blocks)
        for part in self.modules():
            if isinstance(part, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(part.weight)

    def forward(self, x: Tensor) -> Tensor:
        """B×channels×H×W → B×classes."""
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        for number in range(1, self.stages + 1):
            x = self.get_submodule(f"layer{number}")(x)
        out: Tensor = self.linear(x.mean(dim=(2, 3)))
        return out


def times(widths: tuple[int, ...], width: float) -> tuple[int, ...]:
    """This many times as many filters, at least one each."""
    return tuple(max(1, round(one * width)) for one in widths)


def cifar_resnet(depth: int, *, channels: int = 3, classes: int = 10, width: float = 1.0) -> SmallResNet:
    """ResNet of depth 6n+2: three stages of n blocks with 16, 32 and 64 filters, or `width` times as many.

    Raises:
        ValueError: the depth is not 6n+2.
    """
    n, rest = divmod(depth - 2, 6)
    if n < 1 or rest:
        raise ValueError(f"a CIFAR ResNet has 6n+2 layers, not {depth}")
    return SmallResNet((n, n, n), times((16, 32, 64), width), channels, classes)
