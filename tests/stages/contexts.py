"""What the tests of stages run a stage with: an operation as recipes say it, images in memory, and the rest unused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from checked import step
from torch import Tensor

from recipelang.kinds import Batch, Labels, Quiet
from recipelang.methods.tasks.classification import Classification
from recipelang.stages.context import Context
from recipelang.surgery.network import Network


class Images:
    """A data set in memory, the same in every split: two batches an epoch."""

    name, fingerprint, batch = "memory", "", 8
    labels: ClassVar[Labels] = Labels(("a", "b", "c"))
    input_shape = (4, 8, 8)
    preprocessing: Any = None

    def size(self, split: str) -> int:
        return 16

    def batches(self, split: str, **_: Any) -> Iterator[Batch]:
        generator = torch.Generator().manual_seed(0)
        for _ in range(2):
            labels = torch.arange(8) % 3
            yield Batch(torch.randn(8, 4, 8, 8, generator=generator) + labels[:, None, None, None], labels)


@dataclass(frozen=True)
class Given:
    """These images; all of them are for training."""

    images: Tensor
    batch: int = 8
    labels: Labels = Labels(("a", "b", "c"))
    name: ClassVar[str] = "memory"

    def size(self, split: str) -> int:
        return len(self.images)

    def batches(self, split: str, **_: Any) -> Iterator[Batch]:
        for images in self.images.split(self.batch):
            yield Batch(images, torch.arange(len(images)) % len(self.labels.names))


def operation(text: str) -> Any:
    """The operation of the last statement."""
    return step(text).operation


def unused(*_: Any) -> Any:
    raise AssertionError("no state and no reading is asked for")


def context(
    network: Network,
    data: Any,
    folder: Path = Path(),
    progress: Any = None,
    *,
    task: Any = None,
    seed: int = 0,
    state: Any = unused,
    smoke: bool = False,
) -> Context:
    """A network on images on the processor; where a stage asks for a state, a verdict or a reading, the test fails."""
    task, progress = task or Classification(), progress or Quiet()
    return Context(network, data, task, seed, "cpu", 1, folder, state, unused, unused, progress, smoke)
