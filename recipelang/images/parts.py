"""A data set without some of its training samples: what a search judges by is not what it trains on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from recipelang.images.draws import course
from recipelang.images.view import Derived, derived
from recipelang.kinds import Batch, Dataset


def part(data: Dataset, chosen: np.ndarray) -> Dataset:
    """The data set with only these samples of its training split.

    Args:
        data: any data set. One that has a method `part` does it itself; of any other, samples are picked by reading it
            in order, without its augmentation.
        chosen: their numbers, sorted (int64 N).
    """
    if hasattr(data, "part"):
        own: Dataset = data.part(chosen)
        return own
    return Picked(data, tuple(map(int, chosen)))


@dataclass(frozen=True)
class Picked(Derived):
    """Some training samples of a data set that cannot pick them itself; see `kinds.Dataset`.

    Attributes:
        data: all of it.
        chosen: the numbers of the samples, sorted.
    """

    chosen: tuple[int, ...]

    @property
    def fingerprint(self) -> str:
        """Of the data and of the samples."""
        return derived(self.data.fingerprint, part=self.chosen)

    @property
    def augments(self) -> bool:
        """They are read without augmentation."""
        return False

    def size(self, split: str) -> int:
        """Number of samples."""
        return len(self.chosen) if split == "train" else self.data.size(split)

    def drawn(self, *, samples: int | None = None, epoch: int | None = None, seed: int = 0) -> np.ndarray:
        """The numbers of the training samples in the order of `batches`; see `kinds.Dataset`."""
        return course(seed, self.size("train"), samples, epoch, self.batch)

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
        """Batches; see `kinds.Dataset.batches`."""
        if split != "train":
            yield from self.data.batches(split, batch=batch, samples=samples, epoch=epoch, seed=seed, start=start)
            return
        count = batch or self.batch
        chosen = course(seed, len(self.chosen), samples, epoch, count)
        if epoch is not None:
            count = min(count, len(chosen))
        for first in range(start * count, len(chosen), count):
            one = [self._sample(self.chosen[k]) for k in chosen[first : first + count]]
            yield Batch(_stacked([sample.inputs for sample in one]), _stacked([sample.targets for sample in one]))

    def _sample(self, number: int) -> Batch:
        return next(iter(self.data.batches("train", batch=1, start=number)))


def _stacked(trees: list[Any]) -> Any:
    """Trees of tensors of one sample each as one of all."""

    def joined(*leaves: Any) -> Any:
        return torch.cat(leaves) if isinstance(leaves[0], Tensor) else leaves[0]

    return tree_map(joined, *trees)
