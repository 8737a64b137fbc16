"""The handwritten digits of scikit-learn."""

from __future__ import annotations

import hashlib

import numpy as np

from recipelang.images.dataset import ArrayImages, ImageDataset, fingerprint
from recipelang.images.splits import SPLITS, divide
from recipelang.kinds import Preprocessing

SHARES = (0.6, 0.2, 0.2)
CLASSES = tuple("0123456789")
MEAN, STD = (0.305,), (0.376,)  # of all pixels, on the 0…1 scale


def open_digits(*, batch: int, augment: bool) -> ImageDataset:
    """1,797 grey images of 8×8 pixels: B×1×8×8.

    Args:
        batch: training batch size.
        augment: whether training images are shifted by up to one pixel.
    """
    from sklearn.datasets import load_digits  # 0.7 s, and only this data set needs it

    bunch = load_digits()
    images = np.round(bunch.images * (255 / 16)).astype(np.uint8)[..., None]
    labels = bunch.target.astype(np.int64)
    digests = [hashlib.sha256(image.tobytes()).digest() for image in images]
    parts = dict(zip(SPLITS, divide(digests, labels.tolist(), SHARES, 0, CLASSES), strict=True))
    splits = {s: ArrayImages(images[i], labels[i], padding=(int(augment), int(augment))) for s, i in parts.items()}
    key = fingerprint({s: [digests[k] for k in i] for s, i in parts.items()}, augment=augment, batch=batch)
    return ImageDataset("digits", CLASSES, Preprocessing((8, 8), MEAN, STD), key, batch, splits)
