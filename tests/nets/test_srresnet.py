"""SRResNet: its form, its size, and what can be removed from it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from recipelang.nets.srresnet import ResidualBlock, SRResNet, factors
from recipelang.surgery.candidates import find_layers
from recipelang.surgery.tracing import example


@pytest.mark.parametrize(("scale", "channels"), [(2, 1), (3, 3), (4, 3), (6, 1)])
def test_an_image_of_any_size_becomes_larger(scale: int, channels: int) -> None:
    net = SRResNet(scale, 1, 4, channels).eval()
    assert net(torch.rand(2, channels, 7, 10)).shape == (2, channels, 7 * scale, 10 * scale)


def test_the_published_network_has_its_published_size() -> None:
    """16 blocks of 64 filters for scale 4: 1.55 million parameters, counted by hand from figure 4 of Ledig et al."""
    conv = lambda i, o, k, bias=True: i * o * k * k + o * bias  # noqa: E731
    block = 2 * conv(64, 64, 3, False) + 4 * 64 + 1
    whole = conv(3, 64, 9) + 1 + 16 * block + conv(64, 64, 3, False) + 2 * 64
    whole += 2 * (conv(64, 256, 3) + 1) + conv(64, 3, 9)
    assert sum(p.numel() for p in SRResNet(4, 16, 64, 3).parameters()) == whole == 1_547_350


def test_the_forward_pass_is_figure_4() -> None:
    torch.manual_seed(0)
    net = SRResNet(2, 2, 4, 1).eval()
    x = net.first(torch.rand(1, 1, 5, 6))
    y = x
    for block in (net.get_submodule("blocks.0"), net.get_submodule("blocks.1")):
        assert isinstance(block, ResidualBlock)
        y = y + block.bn2(block.conv2(block.act(block.bn1(block.conv1(y)))))
    y = x + net.get_submodule("blocks.norm")(net.get_submodule("blocks.join")(y))
    wanted = net.last(
        nn.functional.prelu(
            nn.functional.pixel_shuffle(net.get_submodule("upscale.0")(y), 2), net.get_submodule("upscale.2").weight
        )
    )  # type: ignore[arg-type]
    torch.manual_seed(0)
    assert torch.allclose(SRResNet(2, 2, 4, 1).eval()(torch.rand(1, 1, 5, 6)), wanted, atol=1e-6)


def test_every_residual_block_can_be_removed() -> None:
    net = SRResNet(2, 3, 4, 1).eval()
    found = {layer.name for layer in find_layers(net, example(net, (1, 8, 8)))}
    assert {"blocks.0", "blocks.1", "blocks.2"} <= found and not found & {"blocks", "last", "upscale.0"}


def test_scales_are_taken_apart() -> None:
    assert [factors(n) for n in (2, 3, 4, 6, 8)] == [(2,), (3,), (2, 2), (2, 3), (2, 2, 2)]
