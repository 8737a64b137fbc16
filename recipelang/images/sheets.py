"""Sheets of handwritten digits, for super-resolution without any download."""

from __future__ import annotations

import hashlib

import numpy as np

from recipelang.images.dataset import ArrayImages, fingerprint
from recipelang.images.digits import open_digits
from recipelang.images.pairs import ArrayWholes, PairDataset, plain
from recipelang.images.splits import SPLITS

#: digits along a side of a sheet
SIDE = 3


def open_sheets(*, scale: int, batch: int, augment: bool) -> PairDataset:
    """Sheets of 3×3 digits, 24×24 grey pixels, each of digits of one split: about 120, 40 and 40 of them."""
    digits = open_digits(batch=batch, augment=False)
    wholes, digests = {}, {}
    for split in SPLITS:
        images = digits.images[split]
        assert isinstance(images, ArrayImages)
        sheets = _sheets(images.images)
        wholes[split] = ArrayWholes(sheets)
        digests[split] = [hashlib.sha256(sheet.tobytes()).digest() for sheet in sheets]
    crop = SIDE * digits.preprocessing.size[0]
    key = fingerprint(digests, scale=scale, crop=crop, augment=augment, batch=batch, pairs=1)
    return PairDataset("digit_sheets", plain(1, crop // scale), key, batch, wholes, scale, crop, augment)


def _sheets(images: np.ndarray) -> np.ndarray:
    """uint8 N×H×W×C → N/9 sheets of 3H×3W; images that do not fill a sheet are left out."""
    count, height, width, channels = len(images) // SIDE**2, *images.shape[1:]
    grid = images[: count * SIDE**2].reshape(count, SIDE, SIDE, height, width, channels)
    return np.ascontiguousarray(grid.transpose(0, 1, 3, 2, 4, 5).reshape(count, SIDE * height, SIDE * width, channels))
