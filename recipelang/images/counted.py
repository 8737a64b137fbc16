"""A data set that counts what is read of it, whoever reads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast

from recipelang.images.batches import count
from recipelang.kinds import Batch, Dataset

#: what makes another data set of the same samples
REMADE = ("part", "prepared")


@dataclass
class Read:
    """What was read so far.

    Attributes:
        samples: split → how many samples.
        sizes: split → how many samples it has.
        epochs: of trainings: samples that were read for training, over those of one of its epochs.
    """

    samples: dict[str, int] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    epochs: float = 0.0

    def add(self, split: str, samples: int, size: int) -> None:
        """Some samples of a split."""
        self.samples[split] = self.samples.get(split, 0) + samples
        self.sizes[split] = size


def counted(data: Dataset, read: Read, called: str = "") -> Dataset:
    """The data set, every batch of which is noted; data sets made from it note in the same place.

    Args:
        data: any data set.
        read: what notes.
        called: the recipe's name for it; "" is its first.
    """
    return cast(Dataset, Counted(data, read, f" of {called}" if called else ""))


class Counted:
    """See `counted` and `kinds.Dataset`."""

    def __init__(self, data: Dataset, read: Read, suffix: str = "") -> None:
        self._data, self._read, self._suffix = data, read, suffix

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # of a copy that is not made yet
            raise AttributeError(name)
        found = getattr(self._data, name)  # an error where the data has none, so that `hasattr` tells the truth
        if name not in REMADE:
            return found
        return lambda *given, **how: Counted(found(*given, **how), self._read, self._suffix)

    def size(self, split: str) -> int:
        """Number of samples in `train`, `val` or `test`."""
        return self._data.size(split)

    def batches(self, split: str, **how: Any) -> Iterator[Batch]:
        """Batches of inputs and targets; see `kinds.Dataset.batches`."""
        whole = self._data.size(split)
        place = split + self._suffix
        size = max(whole, self._read.sizes.get(place, 0))  # of a part of the split, the passes are those over the whole
        trains, samples = how.get("epoch") is not None, min(how.get("samples") or whole, whole)
        of = how.get("batch") or self._data.batch
        epoch = max(1, samples // of) * min(of, samples)  # the last incomplete batch is dropped
        for inputs, targets in self._data.batches(split, **how):
            here = count(inputs)
            self._read.add(place, here, size)
            if trains:
                self._read.epochs += here / epoch
            yield Batch(inputs, targets)
