"""Networks that depend on torch's default memory order are given it, and others run with channels last."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recipelang.surgery.deployed import deployed
from recipelang.surgery.entry import enter
from recipelang.surgery.layout import laid_out, wants_channels_last
from recipelang.surgery.network import Network


class Views(nn.Module):
    """As in many tutorials: `view` between the convolutions and the head."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(channels, 8, 3, padding=1), nn.Conv2d(8, 16, 3, padding=1)
        self.head = nn.Linear(16 * 64, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.two(F.relu(self.one(x))))
        return self.head(x.view(x.size(0), -1))


class Complex(nn.Module):
    """A parameter of four axes whose last one is read as real and imaginary parts, as in global filter networks."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(channels, 8, 3, padding=1), nn.Linear(8, 3)
        self.filter = nn.Parameter(torch.randn(8, 8, 5, 2))

    def forward(self, x: Tensor) -> Tensor:
        x = torch.fft.rfft2(self.conv(x)) * torch.view_as_complex(self.filter)
        return self.head(torch.fft.irfft2(x).mean((2, 3)))


class Volume(nn.Module):
    """In addition to a 2-D convolution a weight of five axes, which has no channels_last order."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv, self.deep = nn.Conv2d(channels, 8, 3, padding=1), nn.Conv3d(8, 4, 3, padding=1)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.deep(self.conv(x).unflatten(2, (2, -1))).mean((2, 3, 4)))


class Trains(Views):
    """Joins axes with `view` in training mode only."""

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.two(F.relu(self.one(x))))
        return self.head(x.view(x.size(0), -1) if self.training else x.flatten(1))


class Flat(nn.Module):
    """No convolution at all, and `view` of the images themselves."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.head = nn.Linear(channels * 64, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x.view(len(x), -1))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("kind", "last"), [(Views, False), (Trains, False), (Complex, True), (Volume, True), (Flat, False)]
)
def test_images_and_weights_come_in_an_order_that_the_network_computes_in(
    kind: type[nn.Module], last: bool, channels: int
) -> None:
    torch.manual_seed(0)
    module = kind(channels).eval()
    images = torch.randn(4, channels, 8, 8)
    expected = module(images).detach()
    scores, _ = enter(module, images[:2].clone())
    network = Network(module, {}, (channels, 8, 8), classes=("a", "b", "c"))
    given = images.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)  # as images are decoded
    torch.testing.assert_close(scores, expected[:2], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(deployed(network)(given), expected, rtol=1e-4, atol=1e-5)
    trained = laid_out(network.clone().module).train()
    torch.testing.assert_close(trained(given).detach(), expected, rtol=1e-4, atol=1e-5)
    assert wants_channels_last(module) == last
