"""A data set that is open: images by split, handed out in batches (`kinds.Dataset`)."""

from __future__ import annotations

import hashlib
import json
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from recipelang.errors import Refusal
from recipelang.images.augment import CROP_DRAWS, SHIFT_DRAWS, shift_and_flip
from recipelang.images.decode import normalise, open_image
from recipelang.images.draws import AUGMENT, course, fingerprint_of_part, uniform
from recipelang.images.preprocessing import entries, follow
from recipelang.images.readers import Reader
from recipelang.images.resize import fit_image, random_part
from recipelang.images.splits import SPLITS
from recipelang.kinds import Batch, Labels, Preprocessing
from recipelang.lazy import torch

#: draws(indices, count) → uniform numbers N×count; None where nothing is augmented
Draws = Callable[[np.ndarray, int], np.ndarray]


class Images(Protocol):
    """The images of one split.

    Attributes:
        labels: int64 N, or float32 N×C of 0 and 1 where an image may have several.
        augments: whether draws change an image.
    """

    @property
    def labels(self) -> np.ndarray: ...
    @property
    def augments(self) -> bool: ...

    def read(self, batches: Iterator[np.ndarray], draws: Draws | None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """For each batch of indices (int64 B): the indices and the pixels, uint8 B×H×W×C, augmented by `draws`."""


@dataclass(frozen=True)
class ArrayImages:
    """Small images, decoded and in memory.

    Attributes:
        images: uint8 N×H×W×C; may be mapped from a file.
        labels: see `Images`.
        padding, flip: the augmentation: how far an image is shifted down and across, and whether it is mirrored.
    """

    images: np.ndarray
    labels: np.ndarray
    padding: tuple[int, int] = (0, 0)
    flip: bool = False

    @property
    def augments(self) -> bool:
        """Whether images are shifted or mirrored."""
        return any(self.padding) or self.flip

    def read(self, batches: Iterator[np.ndarray], draws: Draws | None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """See `Images`."""
        for indices in batches:
            pixels = self.images[indices]
            if draws and self.augments:
                pixels = shift_and_flip(pixels, draws(indices, SHIFT_DRAWS), self.padding, self.flip)
            yield indices, pixels


@dataclass(frozen=True)
class FileImages:
    """Large images, decoded by a pool of threads a few batches ahead.

    Attributes:
        reader, names: the files.
        labels: see `Images`.
        preprocessing: size and crop.
        augment: whether training takes random-resized crops and mirrors.
        flip: whether it mirrors.
    """

    reader: Reader
    names: Sequence[str]
    labels: np.ndarray
    preprocessing: Preprocessing
    augment: bool
    flip: bool = True

    @property
    def augments(self) -> bool:
        """Whether training takes parts of images."""
        return self.augment

    def read(self, batches: Iterator[np.ndarray], draws: Draws | None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """See `Images`."""
        pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1))
        waiting: deque[tuple[np.ndarray, list[Future[np.ndarray]]]] = deque()
        try:
            for indices in batches:
                numbers = draws(indices, CROP_DRAWS) if draws and self.augment else [None] * len(indices)
                waiting.append((indices, [pool.submit(self._one, i, u) for i, u in zip(indices, numbers, strict=True)]))
                if len(waiting) > 2:
                    yield _stacked(waiting.popleft())
            while waiting:
                yield _stacked(waiting.popleft())
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _one(self, index: int, draws: np.ndarray | None) -> np.ndarray:
        name = self.names[index]
        how = self.preprocessing
        image = open_image(self.reader.read(name), name, len(how.mean), how.bits)
        if draws is None:
            return fit_image(image, self.preprocessing)
        return random_part(image, self.preprocessing, draws, self.flip)


@dataclass(frozen=True)
class SomeImages:
    """Some of the images of a split.

    Attributes:
        images: all of them.
        chosen: the numbers of those that there are, sorted.
    """

    images: Images
    chosen: np.ndarray

    @property
    def labels(self) -> np.ndarray:
        """Of these images."""
        return self.images.labels[self.chosen]

    @property
    def augments(self) -> bool:
        """As all of them."""
        return self.images.augments

    def read(self, batches: Iterator[np.ndarray], draws: Draws | None) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """See `Images`; an image is augmented as it is among all."""
        for indices, pixels in self.images.read((self.chosen[batch] for batch in batches), draws):
            yield np.searchsorted(self.chosen, indices), pixels


def _stacked(batch: tuple[np.ndarray, list[Future[np.ndarray]]]) -> tuple[np.ndarray, np.ndarray]:
    indices, futures = batch
    return indices, np.stack([f.result() for f in futures])


@dataclass(frozen=True)
class ImageDataset:
    """Images with classes or labels; see `kinds.Dataset` for what the attributes and methods guarantee.

    Attributes:
        classes: their names.
        images: split → Images.
        notes: what the user is told, such as how many files were skipped.
        target: `class`, or `labels` where an image may have several.
    """

    name: str
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    fingerprint: str
    batch: int
    images: Mapping[str, Images]
    notes: tuple[str, ...] = ()
    target: str = "class"

    @property
    def labels(self) -> Labels:
        """The names of the classes."""
        return Labels(self.classes)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        return (len(self.preprocessing.mean), *self.preprocessing.size)

    @property
    def target_shape(self) -> None:
        """A label has no shape that an answer must have."""
        return None

    @property
    def augments(self) -> bool:
        """Whether a training image is another one in each epoch."""
        return self.images["train"].augments

    def prepared(self, preprocessing: Preprocessing) -> ImageDataset:
        """The same images as a network with this preprocessing wants them, as far as they are not decoded yet."""
        crops = all(isinstance(split, FileImages) for split in self.images.values())
        wanted = follow(self.preprocessing, preprocessing, crops)
        if wanted == self.preprocessing:
            return self
        images = {
            split: replace(one, preprocessing=wanted) if isinstance(one, FileImages) else one
            for split, one in self.images.items()
        }
        key = hashlib.sha256(f"{self.fingerprint} {json.dumps(entries(wanted), sort_keys=True)}".encode()).hexdigest()
        return replace(self, preprocessing=wanted, fingerprint=key, images=images)

    def part(self, chosen: np.ndarray) -> ImageDataset:
        """The same with only these training images (sorted numbers)."""
        images = {**self.images, "train": SomeImages(self.images["train"], chosen)}
        key = fingerprint_of_part(self.fingerprint, chosen)
        return replace(self, fingerprint=key, images=images)

    def size(self, split: str) -> int:
        """Number of samples in `train`, `val` or `test`."""
        return len(self._split(split).labels)

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
        """Batches of images float32 B×C×H×W, with labels int64 B or float32 B×C; see `kinds.Dataset.batches`.

        In training, a batch larger than the split becomes one batch of the whole split.

        Raises:
            Refusal: RCP0818 the split is empty; RCP0805, RCP0806 an image cannot be read.
        """
        images = self._split(split)
        count = batch or self.batch
        chosen = course(seed, len(images.labels), samples, epoch, count)
        draws: Draws | None = None
        if epoch is not None:
            count = min(count, len(chosen))
            draws = lambda indices, n: uniform((seed, AUGMENT, epoch), indices, n)  # noqa: E731
        cuts = (chosen[i : i + count] for i in range(start * count, len(chosen), count))
        for indices, pixels in images.read(cuts, draws):
            yield Batch(normalise(pixels, self.preprocessing), torch.from_numpy(images.labels[indices]))

    def _split(self, split: str) -> Images:
        images = self.images[split]
        if not len(images.labels):
            raise no_images(self.name, split)
        return images


def no_images(name: str, split: str) -> Refusal:
    """The refusal for a split without images."""
    return Refusal(
        "RCP0818",
        f"the data set `{name}` has no `{split}` images",
        f"give the split a share in `split=[…]`, in the order {', '.join(SPLITS)}",
    )


def fingerprint(digests: Mapping[str, Sequence[bytes]], **decides: Any) -> str:
    """Hex digest of the images of each split, in order, and of every setting that decides what a batch holds.

    Args:
        digests: split → SHA-256 of each image's name and bytes.
        decides: JSON values.
    """
    whole = hashlib.sha256(json.dumps(decides, sort_keys=True).encode())
    for split in SPLITS:
        whole.update(f"{split} {len(digests[split])}".encode())
        for digest in digests[split]:
            whole.update(digest)
    return whole.hexdigest()
