"""Networks to operate on: small ones of our own, and torchvision's families with nothing left at its initial zero."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from recipelang.nets.cifar_resnet import cifar_resnet
from recipelang.nets.digits_resnet import digits_resnet
from recipelang.surgery.network import Network

Build = Callable[..., Network]


def randomise(module: nn.Module, seed: int = 1) -> nn.Module:
    """Give weights, layer scales, heads and BatchNorm statistics values that a vacuous test would not survive."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in module.named_parameters():
            if "layer_scale" in name or p.abs().max() < 1e-4:
                p.normal_(0, 0.2, generator=generator)
            elif p.ndim == 1 and torch.equal(p, torch.ones_like(p)):
                p.uniform_(0.5, 1.5, generator=generator)
        for name, b in module.named_buffers():
            if name.endswith("running_mean"):
                b.normal_(0, 0.1, generator=generator)
            elif name.endswith("running_var"):
                b.uniform_(0.5, 2.0, generator=generator)
    return module


@pytest.fixture
def digits() -> Network:
    """The embedded network with random weights."""
    torch.manual_seed(0)
    names = tuple(str(k) for k in range(10))
    source = {"model": "digits_resnet", "settings": {"classes": 10}, "classes": list(names), "input_shape": [1, 8, 8]}
    return Network(randomise(digits_resnet()), source, (1, 8, 8), classes=names)


@pytest.fixture
def resnet20() -> Network:
    """A CIFAR ResNet with random weights."""
    torch.manual_seed(0)
    names = tuple(str(k) for k in range(10))
    source = {"model": "resnet20", "settings": {"classes": 10}, "classes": list(names), "input_shape": [3, 32, 32]}
    return Network(randomise(cifar_resnet(20)), source, (3, 32, 32), classes=names)


@pytest.fixture
def wrap() -> Build:
    """A Network around any module."""

    def build(module: nn.Module, shape: tuple[int, int, int] = (3, 8, 8)) -> Network:
        return Network(randomise(module), {}, shape)

    return build
