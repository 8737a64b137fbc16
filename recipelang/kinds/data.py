"""What a data set must offer, and the method that opens it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from recipelang.kinds.preprocessing import Preprocessing

if TYPE_CHECKING:
    from torch import Tensor


class Dataset(Protocol):
    """An opened data set for classification: three honest splits, in a fixed order.

    Attributes:
        name: as the recipe calls it.
        classes: class names; label k is `classes[k]`.
        preprocessing: what was applied to the images; travels with the compressed model.
        fingerprint: hex digest of names, sizes and bytes and of everything that decides the splits.
        batch: training batch size.
        input_shape: (channels, height, width).
    """

    @property
    def name(self) -> str: ...
    @property
    def classes(self) -> tuple[str, ...]: ...
    @property
    def preprocessing(self) -> Preprocessing: ...
    @property
    def fingerprint(self) -> str: ...
    @property
    def batch(self) -> int: ...
    @property
    def input_shape(self) -> tuple[int, int, int]: ...

    def size(self, split: str) -> int:
        """Number of samples in `train`, `val` or `test`."""

    def batches(
        self,
        split: str,
        *,
        batch: int | None = None,
        samples: int | None = None,
        epoch: int | None = None,
        seed: int = 0,
        start: int = 0,
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of (images float32 B×C×H×W normalised, labels int64 B).

        Args:
            split: `train`, `val` or `test`.
            batch: images per batch; default `self.batch`. The last one may be smaller, except in training.
            samples: only this many, drawn once by `seed`, the same at every call; default all.
            epoch: None reads in order without augmentation; a number is training: shuffled by (seed, epoch),
                each image augmented by (seed, epoch, index), the last incomplete batch dropped.
            start: skip this many batches at no cost, to resume inside an epoch.
        """


class DataMethod(Protocol):
    """`data NAME(…)`."""

    batch: int

    def open(self, resolve: Callable[[str], Path]) -> Dataset:
        """Open the data. `resolve` turns a path of the recipe into a path on this machine.

        Raises:
            Refusal: RCP08xx: missing folder, corrupt image, empty class, images without labels.
        """
