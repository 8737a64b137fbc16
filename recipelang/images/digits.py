"""The handwritten digits of scikit-learn."""

from __future__ import annotations

import gzip
import hashlib
from importlib.util import find_spec
from pathlib import Path

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
    pixels, labels = _digits()
    images = np.round(pixels * (255 / 16)).astype(np.uint8)[..., None]
    digests = [hashlib.sha256(image.tobytes()).digest() for image in images]
    parts = dict(zip(SPLITS, divide(digests, labels.tolist(), SHARES, 0, CLASSES), strict=True))
    splits = {s: ArrayImages(images[i], labels[i], padding=(int(augment), int(augment))) for s, i in parts.items()}
    key = fingerprint({s: [digests[k] for k in i] for s, i in parts.items()}, augment=augment, batch=batch)
    return ImageDataset("digits", CLASSES, Preprocessing((8, 8), MEAN, STD), key, batch, splits)


def _digits() -> tuple[np.ndarray, np.ndarray]:
    """Pixels of 0…16, N×8×8, and classes, int64 N, from the file that scikit-learn reads: importing the library takes
    twenty times as long."""
    found = find_spec("sklearn")
    file = Path(found.origin or "").parent / "datasets" / "data" / "digits.csv.gz" if found else Path()
    if file.is_file():
        with gzip.open(file, "rb") as opened:
            rows = np.fromstring(opened.read().decode("ascii").replace("\n", ","), dtype=np.float64, sep=",")
        table = rows.reshape(-1, 65)
        return table[:, :-1].reshape(-1, 8, 8), table[:, -1].astype(np.int64)
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return bunch.images, bunch.target.astype(np.int64)
