"""A data set whose images are blurred or noisy, the same at each call: for qualities under a shift of the data."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recipelang.errors import Refusal
from recipelang.images.view import Derived, derived
from recipelang.kinds import Batch, Dataset, Preprocessing, Shift, inputs_of

#: standard deviations of the blur's kernel to each side
REACH = 3


def disturbed(data: Dataset, shift: Shift) -> Dataset:
    """The data set with blurred and noisy images; itself where nothing is asked for.

    Args:
        data: as the network sees it.
        shift: what is done; the blur first, as a camera does.

    Raises:
        Refusal: RCP1016: inputs are not images, they are smaller than the blur, or their scale is not known.
    """
    if not shift:
        return data
    shape = data.input_shape
    if len(shape) != 3 or shape[0] > 4 or inputs_of(data).whole:
        message = f"only images can be blurred or noisy, and an input of `{data.name}` is {'×'.join(map(str, shape))}"
        raise Refusal("RCP1016", message, "leave `blur` and `noise` out")
    if shift.blur and _reach(shift.blur) >= min(shape[1:]):
        most = (min(shape[1:]) - 1) / REACH
        message = f"a blur of {shift.blur:g} pixels reaches beyond images of {shape[1]}×{shape[2]} pixels"
        raise Refusal("RCP1016", message, f"write `blur={math.floor(10 * most) / 10:g}` or less")
    if shift.noise and data.preprocessing is None:
        message = f"the scale of the inputs of `{data.name}` is not known, so noise on the scale 0…1 cannot be added"
        raise Refusal("RCP1016", message, "leave `noise` out, or use data whose images recipelang prepares itself")
    return Disturbed(data, shift)


@dataclass(frozen=True)
class Disturbed(Derived):
    """See `disturbed`.

    Attributes:
        data: as it is.
        shift: what is done to its images.
    """

    shift: Shift

    @property
    def fingerprint(self) -> str:
        """Of the data and of what is done to it."""
        return derived(self.data.fingerprint, shift=asdict(self.shift))

    def size(self, split: str) -> int:
        """Number of samples in `train`, `val` or `test`."""
        return self.data.size(split)

    def batches(self, split: str, **how: Any) -> Iterator[Batch]:
        """Batches of inputs and targets; see `kinds.Dataset.batches`.

        A sample has the same noise however many are in a batch: it is drawn in the order of the samples.
        """
        draws = np.random.Generator(np.random.Philox(_seed(split)))
        for images, targets in self.data.batches(split, **how):
            seen = blurred(images, self.shift.blur) if self.shift.blur else images
            if self.shift.noise:
                drawn = draws.standard_normal(tuple(seen.shape), dtype=np.float32)
                seen = noisy(seen, self.shift.noise, torch.from_numpy(drawn), self.data.preprocessing)
            yield Batch(seen, targets)


def blurred(images: Tensor, sigma: float) -> Tensor:
    """Images B×C×H×W after a Gaussian blur of `sigma` pixels, mirrored at their borders."""
    from torchvision.transforms.v2.functional import gaussian_blur  # takes a second to import

    size = 2 * _reach(sigma) + 1
    return gaussian_blur(images, [size, size], [sigma, sigma])


def noisy(images: Tensor, sigma: float, drawn: Tensor, preprocessing: Preprocessing | None) -> Tensor:
    """Images B×C×H×W with noise, cut to the range of images.

    Args:
        images: normalised by `preprocessing`.
        sigma: of the noise, on the scale 0…1.
        drawn: standard normal numbers of the same shape.
    """
    if preprocessing is None:
        raise ValueError("the scale of the images is not known")
    mean, std = (torch.tensor(v).view(-1, 1, 1) for v in (preprocessing.mean, preprocessing.std))
    return ((images * std + mean + sigma * drawn).clamp(0, 1) - mean) / std


def _reach(sigma: float) -> int:
    return max(1, math.ceil(REACH * sigma))


def _seed(split: str) -> int:
    return int.from_bytes(hashlib.sha256(f"noise of {split}".encode()).digest()[:8], "big")
