"""SRResNet, the network for super-resolution of Ledig et al. 2017, section 2.1 and figure 4."""

from __future__ import annotations

from torch import Tensor, nn

#: sides of the kernels of the first and the last convolution
OUTER = 9


class ResidualBlock(nn.Module):
    """x + bn(conv(prelu(bn(conv(x))))), 3×3 convolutions, as many channels out as in."""

    def __init__(self, filters: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(filters, filters, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(filters)
        self.act = nn.PReLU()
        self.conv2 = nn.Conv2d(filters, filters, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(filters)

    def forward(self, x: Tensor) -> Tensor:
        """B×filters×H×W → the same shape."""
        branch: Tensor = self.bn2(self.conv2(self.act(self.bn1(self.conv1(x)))))
        return x + branch


class SRResNet(nn.Module):
    """conv – residual blocks and a conv, added to what enters them – enlargement by shuffled pixels – conv.

    Keys: `first.0`, `blocks.0.conv1`, …, `blocks.join`, `blocks.norm`, `upscale.0`, …, `last`.

    Args:
        scale: how many times larger the image becomes: its prime factors are enlarged one after another.
        blocks: residual blocks. filters: channels inside. channels: of the images.
    """

    def __init__(self, scale: int, blocks: int, filters: int, channels: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(channels, filters, OUTER, padding=OUTER // 2), nn.PReLU())
        self.blocks = nn.Sequential(*(ResidualBlock(filters) for _ in range(blocks)))
        self.blocks.add_module("join", nn.Conv2d(filters, filters, 3, padding=1, bias=False))
        self.blocks.add_module("norm", nn.BatchNorm2d(filters))
        self.upscale = nn.Sequential(*(part for factor in factors(scale) for part in _larger(filters, factor)))
        self.last = nn.Conv2d(filters, channels, OUTER, padding=OUTER // 2)

    def forward(self, x: Tensor) -> Tensor:
        """B×channels×H×W → B×channels×(scale·H)×(scale·W)."""
        x = self.first(x)
        out: Tensor = self.last(self.upscale(x + self.blocks(x)))
        return out


def factors(scale: int) -> tuple[int, ...]:
    """The prime factors of a number, the smallest first."""
    divisor = next((d for d in range(2, scale + 1) if scale % d == 0), None)
    return () if divisor is None else (divisor, *factors(scale // divisor))


def _larger(filters: int, factor: int) -> tuple[nn.Module, ...]:
    """Convolution to factor² times as many channels, which become pixels (Shi et al. 2016)."""
    conv = nn.Conv2d(filters, filters * factor**2, 3, padding=1)
    return conv, nn.PixelShuffle(factor), nn.PReLU()
