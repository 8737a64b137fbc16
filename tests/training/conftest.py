"""A small network with everything that has state, and a small data set with augmentation."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from recipelang.images.dataset import ArrayImages, ImageDataset
from recipelang.kinds import Moment, Preprocessing
from recipelang.surgery.network import Network
from recipelang.training.loop import fit

sys.path.insert(0, str(Path(__file__).parent))  # `rewirings`, `killing`, `penalised`

from rewirings import TASK, Looking, Seen, training


class Silent:
    """Progress that says nothing and calls `then(steps done)` after each step."""

    def __init__(self, then: Callable[[int], None] | None = None) -> None:
        self.then, self.done, self.running = then, 0, False

    def start(self, what: str, total: int | None = None) -> None:
        self.done, self.running = 0, True

    def advance(self, parts: int = 1, note: str = "") -> None:
        self.done += parts
        if self.then:
            self.then(self.done)

    def stop(self) -> None:
        self.running = False

    def say(self, line: str) -> None:
        raise AssertionError(line)


@pytest.fixture
def silent() -> type[Silent]:
    return Silent


def make_network(seed: int = 0, classes: int = 3, dropout: float = 0.2) -> Network:
    torch.manual_seed(seed)
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Conv2d(8, 8, 3, stride=2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(72, classes),
    )
    return Network(module.eval(), {}, (3, 8, 8), classes=tuple("abc"[:classes]))


@pytest.fixture
def network() -> Network:
    return make_network()


@pytest.fixture
def another() -> Callable[..., Network]:
    return make_network


@pytest.fixture
def data() -> ImageDataset:
    """70 images whose brightness decides the class: 4 batches of 16 an epoch, mirrored and shifted."""
    random = np.random.default_rng(0)
    labels = np.arange(70) % 3
    pixels = (random.integers(0, 90, (70, 8, 8, 3)) + 80 * labels[:, None, None, None]).astype(np.uint8)
    images: Any = {s: ArrayImages(pixels, labels.astype(np.int64), (1, 1), True) for s in ("train", "val", "test")}
    return ImageDataset("toy", ("a", "b", "c"), Preprocessing((8, 8), (0.5,) * 3, (0.3,) * 3), "f" * 64, 16, images)


@pytest.fixture
def watched(data: ImageDataset, silent: Any) -> Callable[..., tuple[Network, list[Seen], list[Seen]]]:
    """Train with a schedule; the network, and what there was before and after the masks moved in each step."""

    def run(network: Network, schedule: Any, **more: Any) -> tuple[Network, list[Seen], list[Seen]]:
        states: list[Any] = []
        before, after = Looking(beside=states), Looking(beside=states)
        whole = training(schedule, **more)
        inner = whole.companions[0]
        kind = type(inner)

        class Noting(kind):  # type: ignore[valid-type,misc]
            def begin(self, network: Any, moment: Moment) -> nn.Module:
                states.append(super().begin(network, moment))
                return states[-1]  # type: ignore[no-any-return]

        noting = Noting(inner.masking)
        trained, _ = fit(
            network, data, replace(whole, companions=(before, noting, after)), progress=silent(), task=TASK, seed=1,
            precision="float32",
        )  # fmt: skip
        return trained, before.seen, after.seen

    return run
