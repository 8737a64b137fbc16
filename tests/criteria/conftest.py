"""Small networks and data sets in memory for criteria to look at."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from recipelang.kinds import Labels, Preprocessing
from recipelang.methods.tasks.classification import Classification
from recipelang.methods.units.filters import Filters
from recipelang.methods.units.layers import Layers, as_group
from recipelang.plan import Selection
from recipelang.scoring.evidence import Gathered
from recipelang.scoring.listed import listed
from recipelang.scoring.ranking import rank
from recipelang.surgery.candidates import find_layers
from recipelang.surgery.network import Network
from recipelang.surgery.tracing import example

sys.path.insert(0, str(Path(__file__).parent))  # `coupled_networks`


class Images:
    """A data set in memory whose training split has as many samples of each class."""

    name, fingerprint, preprocessing = "memory", "", Preprocessing((8, 8), (0.0,), (1.0,))

    def __init__(self, splits: dict[str, tuple[Tensor, Tensor]], classes: int, batch: int = 16) -> None:
        self.splits, self.batch = splits, batch
        self.labels = Labels(tuple(str(c) for c in range(classes)))

    @property
    def input_shape(self) -> tuple[int, int, int]:
        return tuple(self.splits["train"][0].shape[1:])  # type: ignore[return-value]

    def size(self, split: str) -> int:
        return len(self.splits[split][1])

    def batches(
        self, split: str, *, batch: int | None = None, samples: int | None = None, epoch: int | None = None,
        seed: int = 0, start: int = 0,
    ) -> Iterator[tuple[Tensor, Tensor]]:  # fmt: skip
        assert epoch is None, "criteria look at images as they are, without augmentation"
        images, labels = (part[:samples] for part in self.splits[split])
        yield from zip(images.split(batch or self.batch), labels.split(batch or self.batch), strict=True)


class Block(nn.Module):
    """x + conv(relu(bn(x))): the identity when its parameters are zero."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.conv = nn.BatchNorm2d(width), nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(torch.relu(self.norm(x)))


def small(blocks: int = 3, width: int = 6, classes: int = 4) -> nn.Module:
    torch.manual_seed(0)
    body = [Block(width) for _ in range(blocks)]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.5), nn.Linear(width, classes)]
    return nn.Sequential(nn.Conv2d(1, width, 3, padding=1), *body, *head)


def images(classes: int = 4, train: int = 48, val: int = 32) -> Images:
    generator = torch.Generator().manual_seed(1)

    def split(n: int) -> tuple[Tensor, Tensor]:
        labels = torch.arange(n) % classes
        return torch.randn(n, 1, 8, 8, generator=generator) + labels[:, None, None, None], labels

    return Images({"train": split(train), "val": split(val), "test": split(8)}, classes)


def gathered(module: nn.Module, data: Images, **more: object) -> Gathered:
    shape = data.input_shape
    groups = tuple(map(as_group, find_layers(module, example(module, shape))))
    return Gathered(Network(module, {}, shape), data, Classification(), groups, **more)  # type: ignore[arg-type]


def ranking(criterion: Any, evidence: Any) -> dict[str, float]:
    """Layer → score, the least important first."""
    return {step.group: step.score for step in rank(criterion, Layers(), evidence, evidence.groups).steps}


@pytest.fixture(scope="session")
def lab() -> SimpleNamespace:
    """What the tests of criteria are made of."""
    return SimpleNamespace(
        Images=Images,
        Block=Block,
        CrossEntropy=Classification,
        small=small,
        images=images,
        gathered=gathered,
        ranking=ranking,
    )


class Two(nn.Module):
    """Two convolutions and a head: the channels of `first` are read by `second`, those of `second` by `head`."""

    def __init__(self, classes: int = 4) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 6, 3, padding=1)
        self.head = nn.Linear(6, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.second(self.first(x).relu()).relu().mean((2, 3)))


def plain(trained: bool = False) -> Network:
    """`Two`, with random weights or after some steps on the images of this file."""
    torch.manual_seed(0)
    module = Two()
    if trained:
        inputs, targets = images().splits["train"]
        optimizer = torch.optim.Adam(module.parameters(), lr=0.01)
        for _ in range(80):
            optimizer.zero_grad()
            nn.functional.cross_entropy(module(inputs), targets).backward()
            optimizer.step()
    return Network(module.eval(), {}, (1, 8, 8))


def channel_evidence(network: Network, data: Any, criterion: Any, unit: Any = None, **more: Any) -> Any:
    """Evidence about the coupled channels of a network, as the criterion sees it."""
    unit = unit or Filters(round=1)
    groups = unit.find(network, Selection()).groups
    return listed(Gathered(network, data, Classification(), groups, unit.ranks, criterion.needs, **more), criterion)


@pytest.fixture(scope="session")
def learned() -> SimpleNamespace:
    """What the tests of criteria that train something are made of."""
    return SimpleNamespace(plain=plain, images=images, evidence=channel_evidence)
