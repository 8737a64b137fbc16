"""The CIFAR ResNets against the published description, and against published weights where available."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from recipelang.nets.cifar_resnet import BasicBlock, cifar_resnet
from recipelang.nets.digits_resnet import digits_resnet

DATA = Path(os.environ.get("RECIPELANG_DATA", Path(__file__).parents[3] / "shared" / "data"))


@pytest.mark.parametrize(("depth", "millions"), [(20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85), (110, 1.7)])
def test_the_parameters_of_table_6_of_the_paper(depth: int, millions: float) -> None:
    net = cifar_resnet(depth)
    assert sum(p.numel() for p in net.parameters()) / 1e6 == pytest.approx(millions, abs=0.03)
    weighted = [m for m in net.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
    assert len(weighted) == depth


def test_a_depth_that_is_none() -> None:
    for depth in (2, 21, 57):
        with pytest.raises(ValueError, match="6n"):
            cifar_resnet(depth)


def test_the_shortcut_takes_every_second_pixel_and_pads_channels_on_both_sides() -> None:
    block = BasicBlock(2, 4, stride=2)
    x = torch.randn(3, 2, 6, 6)
    expected = torch.zeros(3, 4, 3, 3)
    expected[:, 1:3] = x[:, :, ::2, ::2]
    assert torch.equal(block.shortcut(x), expected)
    assert list(dict(block.named_parameters())) == [
        "conv1.weight",
        "bn1.weight",
        "bn1.bias",
        "conv2.weight",
        "bn2.weight",
        "bn2.bias",
    ]
    same = BasicBlock(2, 2)
    assert same.shortcut(x) is x


def test_a_block_is_its_formula() -> None:
    block = BasicBlock(4, 4).eval()
    x = torch.randn(2, 4, 5, 5)
    with torch.no_grad():
        branch = F.conv2d(x, block.conv1.weight, padding=1) / (1 + 1e-5) ** 0.5
        branch = F.conv2d(branch.clamp_min(0), block.conv2.weight, padding=1) / (1 + 1e-5) ** 0.5
        before = x.clone()
        assert torch.allclose(block(x), (x + branch).clamp_min(0), atol=1e-5)
    assert torch.equal(x, before)


def test_sizes_channels_and_classes() -> None:
    assert cifar_resnet(20, channels=1, classes=3).eval()(torch.randn(2, 1, 28, 28)).shape == (2, 3)
    assert digits_resnet().eval()(torch.randn(2, 1, 8, 8)).shape == (2, 10)


@pytest.mark.parametrize("depth", [20, 56])
def test_the_keys_are_those_of_the_published_weights(depth: int) -> None:
    file = DATA / f"resnet{depth}-cifar10.safetensors"
    if not file.is_file():
        pytest.skip(f"no {file.name}: set RECIPELANG_DATA to the folder that holds it")
    net = cifar_resnet(depth)
    net.load_state_dict(load_file(file), strict=True)
    assert net.eval()(torch.randn(1, 3, 32, 32)).isfinite().all()
