"""Small networks, images in memory, and the pieces that rounders are given."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from recipelang.kinds import Labels
from recipelang.surgery.network import Network

for room in ("rounders", "stages"):  # `pieces`; `contexts`
    sys.path.insert(0, str(Path(__file__).parent.parent / room))


class Images:
    """64 images of 3 classes, the same in every split."""

    name, fingerprint, preprocessing = "memory", "", None
    batch = 16

    def __init__(self, shape: tuple[int, ...] = (4, 8, 8), count: int = 64, classes: int = 3) -> None:
        generator = torch.Generator().manual_seed(3)
        self.input_shape, self.labels = shape, Labels(tuple("abcdefghij"[:classes]))
        self.targets = torch.arange(count) % classes
        lift = self.targets.view(-1, *[1] * len(shape)) / 2
        self.images = torch.randn(count, *shape, generator=generator) + lift

    def size(self, split: str) -> int:
        return len(self.images)

    def batches(
        self, split: str, *, batch: int | None = None, samples: int | None = None, **_: Any
    ) -> Iterator[tuple[Tensor, Tensor]]:
        size = batch or self.batch
        yield from zip(self.images[:samples].split(size), self.targets[:samples].split(size), strict=True)


class Residual(nn.Module):
    """relu(x + bn(conv(relu(bn(conv(x))))))"""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.bn1(self.conv1(x)).relu()
        return (x + self.bn2(self.conv2(inner))).relu()


class Chain(nn.Module):
    """A convolution, two residual blocks, a depthwise convolution, a linear layer."""

    def __init__(self, width: int = 6, classes: int = 3) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(4, width, 3, padding=1), nn.ReLU())
        self.blocks = nn.Sequential(Residual(width), Residual(width))
        self.depthwise = nn.Conv2d(width, width, 3, groups=width)
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.depthwise(self.blocks(self.stem(x))).relu()
        return self.head(x.mean((2, 3)))


class Tokens(nn.Module):
    """A transformer encoder over patches: attention computes its own projections."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.patches = nn.Conv2d(4, 8, 4, 4)
        self.encoder = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.head = nn.Linear(8, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(self.patches(x).flatten(2).mT).mean(1))


class Perceptron(nn.Module):
    """Linear layers alone, one of them called twice."""

    def __init__(self, classes: int = 3) -> None:
        super().__init__()
        self.first, self.twice = nn.Linear(256, 12), nn.Linear(12, 12)
        self.head = nn.Linear(12, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x.flatten(1)).relu()
        return self.head(self.twice(self.twice(x).relu()).relu())


def made(module: nn.Module, shape: tuple[int, ...] = (4, 8, 8)) -> Network:
    """A network with numbers in its norms that hide nothing."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.weight.uniform_(0.5, 1.5, generator=generator)
                part.bias.normal_(0, 0.2, generator=generator)
                part.running_mean.normal_(0, 0.2, generator=generator)  # type: ignore[union-attr]
                part.running_var.uniform_(0.5, 1.5, generator=generator)  # type: ignore[union-attr]
    return Network(module.eval(), {"model": "test", "settings": {}}, shape, classes=("a", "b", "c"))


NETWORKS = {"chain": Chain, "tokens": Tokens, "perceptron": Perceptron}


@pytest.fixture(params=NETWORKS)
def network(request: pytest.FixtureRequest) -> Network:
    torch.manual_seed(0)
    return made(NETWORKS[request.param]())


@pytest.fixture
def chain() -> Network:
    torch.manual_seed(0)
    return made(Chain())


@pytest.fixture
def images() -> Images:
    return Images()
