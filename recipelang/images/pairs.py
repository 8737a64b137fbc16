"""Pairs of images: a small one, and the larger one that it was made from (`kinds.Dataset` with the target `image`)."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from PIL import Image

from recipelang.errors import Refusal
from recipelang.images.dataset import no_images
from recipelang.images.decode import normalise, open_image, read_bytes
from recipelang.images.draws import AUGMENT, course, fingerprint_of_part, uniform
from recipelang.images.preprocessing import entries
from recipelang.images.resize import channels_last
from recipelang.kinds import Batch, Preprocessing
from recipelang.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

#: random numbers per image: row, column, one of the eight symmetries of a square
DRAWS = 3
AHEAD = 2  # batches that are read in advance
MOST_PIXELS = 2**21  # of the whole images of a batch; one larger image is a batch of its own


class Wholes(Protocol):
    """The whole images of one split.

    Attributes:
        sizes: (height, width) of each image.
    """

    @property
    def sizes(self) -> Sequence[tuple[int, int]]: ...

    def read(self, index: int) -> Image.Image:
        """One of them, grey or RGB."""


@dataclass(frozen=True)
class ArrayWholes:
    """Images in memory: uint8 N×H×W×C."""

    images: np.ndarray

    @property
    def sizes(self) -> Sequence[tuple[int, int]]:
        """All of the same size."""
        return [(self.images.shape[1], self.images.shape[2])] * len(self.images)

    def read(self, index: int) -> Image.Image:
        """See `Wholes`."""
        pixels = self.images[index]
        return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)


@dataclass(frozen=True)
class FileWholes:
    """Files below a folder, decoded as they are needed."""

    root: Path
    names: Sequence[str]
    sizes: Sequence[tuple[int, int]]
    channels: int
    bits: int | None = None

    def read(self, index: int) -> Image.Image:
        """See `Wholes`.

        Raises:
            Refusal: RCP0805, RCP0806.
        """
        name = self.names[index]
        return open_image(read_bytes(self.root / name, name), name, self.channels, self.bits)


@dataclass(frozen=True)
class SomeWholes:
    """Some of the images of a split."""

    wholes: Wholes
    chosen: np.ndarray  # their numbers, sorted

    @property
    def sizes(self) -> Sequence[tuple[int, int]]:
        """See `Wholes`."""
        every = self.wholes.sizes
        return [every[k] for k in self.chosen]

    def read(self, index: int) -> Image.Image:
        """See `Wholes`."""
        return self.wholes.read(int(self.chosen[index]))


@dataclass(frozen=True)
class PairDataset:
    """Pairs for super-resolution; see `kinds.Dataset` for what the attributes and methods guarantee.

    Attributes:
        wholes: split → its images.
        scale: how many times smaller the inputs are.
        crop: side in pixels of the targets that are cut out in training.
        augment: whether these are mirrored and turned.
        notes: what the user is told.
    """

    name: str
    preprocessing: Preprocessing
    fingerprint: str
    batch: int
    wholes: Mapping[str, Wholes]
    scale: int
    crop: int
    augment: bool
    notes: tuple[str, ...] = ()

    @property
    def target(self) -> str:
        """The image that an input should become."""
        return "image"

    @property
    def labels(self) -> None:
        """There are no classes."""
        return None

    @property
    def augments(self) -> bool:
        """Whether a training pair is another one in each epoch: it is cut out somewhere."""
        return True

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(channels, height, width) of an input in training."""
        return (len(self.preprocessing.mean), self.crop // self.scale, self.crop // self.scale)

    @property
    def target_shape(self) -> tuple[int, ...]:
        """(channels, height, width) of a target in training."""
        return (len(self.preprocessing.mean), self.crop, self.crop)

    def prepared(self, preprocessing: Preprocessing) -> PairDataset:
        """The same pairs with the normalisation of a network; targets stay values of 0…1."""
        own = self.preprocessing
        if len(own.mean) != len(preprocessing.mean) or (own.mean, own.std) == (preprocessing.mean, preprocessing.std):
            return self
        wanted = dataclasses.replace(own, mean=preprocessing.mean, std=preprocessing.std)
        key = hashlib.sha256(f"{self.fingerprint} {json.dumps(entries(wanted), sort_keys=True)}".encode()).hexdigest()
        return dataclasses.replace(self, preprocessing=wanted, fingerprint=key)

    def part(self, chosen: np.ndarray) -> PairDataset:
        """The same with only these training images (sorted numbers)."""
        key = fingerprint_of_part(self.fingerprint, chosen)
        wholes = {**self.wholes, "train": SomeWholes(self.wholes["train"], chosen)}
        return dataclasses.replace(self, fingerprint=key, wholes=wholes)

    def size(self, split: str) -> int:
        """Number of images in `train`, `val` or `test`."""
        return len(self._split(split).sizes)

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
        """Batches of small and of large images, B×C×H×W each; see `kinds.Dataset.batches`.

        Of `train` a square of `crop` pixels is used: at random in training, else the centre. Of `val` and `test` the
        whole image is, as far as `scale` divides it; images of different sizes come in different batches, large ones in
        smaller batches.

        Raises:
            Refusal: RCP0818 the split is empty; RCP0805, RCP0806 an image cannot be read.
        """
        wholes = self._split(split)
        count = batch or self.batch
        chosen = course(seed, len(wholes.sizes), samples, epoch, count)
        draws: np.ndarray | None = None
        if epoch is not None:
            count = min(count, len(chosen))
            draws = uniform((seed, AUGMENT, epoch), np.arange(len(wholes.sizes)), DRAWS)
        cuts = [chosen[i : i + count] for i in range(start * count, len(chosen), count)]
        if split != "train":
            cuts = [part for cut in cuts for part in self._alike(wholes, cut)]
        for pairs in self._read(wholes, cuts, split == "train", draws):
            small, large = (np.stack([pair[side] for pair in pairs]) for side in (0, 1))
            yield Batch(normalise(small, self._of(small)), _values(large))

    def _split(self, split: str) -> Wholes:
        wholes = self.wholes[split]
        if not len(wholes.sizes):
            raise no_images(self.name, split)
        return wholes

    def _of(self, pixels: np.ndarray) -> Preprocessing:
        """The preprocessing for images of this size, which are not resized."""
        return dataclasses.replace(self.preprocessing, size=(pixels.shape[1], pixels.shape[2]))

    def _alike(self, wholes: Wholes, cut: np.ndarray) -> Iterator[np.ndarray]:
        """The runs of equal size of a batch, cut where they have too many pixels together."""
        sizes = [wholes.sizes[i] for i in cut]
        ends = [k for k in range(1, len(cut)) if sizes[k] != sizes[k - 1]]
        for run in np.split(cut, ends):
            height, width = wholes.sizes[run[0]]
            most = max(1, MOST_PIXELS // (height * width))
            yield from (run[k : k + most] for k in range(0, len(run), most))

    def _read(
        self, wholes: Wholes, cuts: Iterable[np.ndarray], square: bool, draws: np.ndarray | None
    ) -> Iterator[list[tuple[np.ndarray, np.ndarray]]]:
        """The pairs of each batch, a few batches ahead."""
        pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1))
        waiting: deque[list[Future[tuple[np.ndarray, np.ndarray]]]] = deque()
        try:
            for cut in cuts:
                numbers = [None if draws is None else draws[i] for i in cut]
                jobs = zip(cut, numbers, strict=True)
                waiting.append([pool.submit(self._pair, wholes, int(i), square, u) for i, u in jobs])
                if len(waiting) > AHEAD:
                    yield [future.result() for future in waiting.popleft()]
            while waiting:
                yield [future.result() for future in waiting.popleft()]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _pair(
        self, wholes: Wholes, index: int, square: bool, draws: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Small and large image, uint8 h×w×C and H×W×C; `draws` are uniform numbers, or None for the centre."""
        image = wholes.read(index)
        if (image.height, image.width) != tuple(wholes.sizes[index]):
            raise _changed(self.name)
        if not square:  # as published: first cut, then made smaller
            height, width = fitting(wholes.sizes[index], self.scale)
            image = image.crop((0, 0, width, height))
            return channels_last(self._smaller(image, (0, 0, width, height))), channels_last(image)
        left, top = (image.width - self.crop) // 2, (image.height - self.crop) // 2
        if draws is not None:
            top, left = int(draws[0] * (image.height - self.crop + 1)), int(draws[1] * (image.width - self.crop + 1))
        box = (left, top, left + self.crop, top + self.crop)
        small, large = channels_last(self._smaller(image, box)), channels_last(image.crop(box))
        if draws is None or not self.augment:
            return small, large
        return turned(small, draws[2]), turned(large, draws[2])

    def _smaller(self, image: Image.Image, box: tuple[int, int, int, int]) -> Image.Image:
        """A part of an image, `scale` times smaller; pixels beside it contribute to those at its edge."""
        size = (box[2] - box[0]) // self.scale, (box[3] - box[1]) // self.scale
        return image.resize(size, Image.Resampling.BICUBIC, box=box)


def _changed(name: str) -> Refusal:
    return Refusal("RCP0805", f"an image of `{name}` has changed since the data was opened", "run the recipe again")


def fitting(size: tuple[int, int], scale: int) -> tuple[int, int]:
    """(height, width) without the rows and columns that are left over when an image is made `scale` times smaller."""
    return size[0] // scale * scale, size[1] // scale * scale


def turned(pixels: np.ndarray, draw: float) -> np.ndarray:
    """A square image H×W×C in one of its eight orientations, chosen by a uniform number in [0, 1)."""
    which = int(draw * 8)
    turned = np.rot90(pixels, which % 4)
    return turned[:, ::-1] if which >= 4 else turned


def _values(pixels: np.ndarray) -> Tensor:
    """uint8 B×H×W×C → float32 B×C×H×W of 0…1."""
    return torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).to(torch.float32).div_(255)


def plain(channels: int, side: int) -> Preprocessing:
    """Values of 0…1, as they are."""
    return Preprocessing((side, side), (0.0,) * channels, (1.0,) * channels)
