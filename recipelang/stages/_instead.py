"""Samples that were made, in place of the training split of a data set; its other splits are as they are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from recipelang.images.draws import course
from recipelang.kinds import Batch, Labels, Preprocessing
from recipelang.stages._made import Made


@dataclass(frozen=True)
class Instead:
    """A data set whose training samples were made.

    Attributes:
        made: the samples, and the data set in whose place they are.
    """

    made: Made

    @property
    def name(self) -> str:
        """Of what made them."""
        return self.made.name

    @property
    def fingerprint(self) -> str:
        """Of the samples, and of the data set."""
        return f"{self.made.fingerprint}{self.made.like.fingerprint}"

    @property
    def batch(self) -> int:
        """As in the data set."""
        return self.made.like.batch

    @property
    def target(self) -> str:
        """As in the data set."""
        return self.made.like.target

    @property
    def labels(self) -> Labels | None:
        """The classes of the data set."""
        return self.made.like.labels

    @property
    def preprocessing(self) -> Preprocessing | None:
        """As in the data set."""
        return self.made.like.preprocessing

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of one input."""
        return self.made.input_shape

    @property
    def target_shape(self) -> tuple[int, ...] | None:
        """Of one target, as in the data set."""
        return self.made.target_shape

    @property
    def augments(self) -> bool:
        """What is made is the same in every epoch."""
        return False

    def size(self, split: str) -> int:
        """How many samples were made, or those of the data set in its other splits."""
        return len(self.made.inputs) if split == "train" else self.made.like.size(split)

    def drawn(self, *, samples: int | None = None, epoch: int | None = None, seed: int = 0) -> np.ndarray:
        """The numbers of the training samples in the order of `batches`."""
        return course(seed, len(self.made.inputs), samples, epoch, self.batch)

    def batches(
        self,
        split: str,
        *,
        batch: int | None = None,
        samples: int | None = None,
        epoch: int | None = None,
        seed: int = 0,
        start: int = 0,
    ) -> Iterator[Batch]:
        """The samples shuffled for each epoch; nothing is augmented."""
        if split != "train":
            how: Any = {"batch": batch, "samples": samples, "epoch": epoch, "seed": seed, "start": start}
            yield from self.made.like.batches(split, **how)
            return
        size = batch or self.batch
        order = torch.from_numpy(course(seed, len(self.made.inputs), samples, epoch, size))
        size = min(size, len(order))
        for part in order[start * size :].split(size):
            yield Batch(self.made.inputs[part], self.made.targets[part])
