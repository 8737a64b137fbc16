"""Images of several handwritten digits, for labels without any download."""

from __future__ import annotations

import hashlib

import numpy as np

from recipelang.images.dataset import ArrayImages, ImageDataset, fingerprint
from recipelang.images.digits import CLASSES, open_digits
from recipelang.images.draws import AUGMENT, ORDER, shuffled, uniform
from recipelang.images.splits import SPLITS
from recipelang.kinds import Preprocessing

SIDE = 2  # digits along a side of an image
MOST = 3  # digits in an image
ROUNDS = {"train": 3, "val": 1, "test": 1}  # in how many images each digit is
MEAN, STD = (0.153,), (0.307,)  # of all pixels, on the 0…1 scale


def open_several(*, batch: int, augment: bool) -> ImageDataset:
    """Images of 16×16 grey pixels with one to three digits, and which of the ten these are.

    Args:
        batch: training batch size.
        augment: whether training images are shifted by up to one pixel.
    """
    digits = open_digits(batch=batch, augment=False)
    splits, digests = {}, {}
    for number, split in enumerate(SPLITS):
        single = digits.images[split]
        assert isinstance(single, ArrayImages)
        orders = [shuffled((number, ORDER, turn), len(single.labels)) for turn in range(ROUNDS[split])]
        images, labels = _arranged(single, np.concatenate(orders), number)
        splits[split] = ArrayImages(images, labels, padding=(int(augment), int(augment)))
        digests[split] = [
            hashlib.sha256(image.tobytes() + row.tobytes()).digest() for image, row in zip(images, labels, strict=True)
        ]
    key = fingerprint(digests, augment=augment, batch=batch, several=1)
    height, width = (SIDE * side for side in digits.preprocessing.size)
    return ImageDataset(
        "several_digits", CLASSES, Preprocessing((height, width), MEAN, STD), key, batch, splits, target="labels"
    )


def _arranged(digits: ArrayImages, order: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Digits, one after another, into images with one, two, three, one … of them, in places that are drawn.

    Args:
        order: the numbers of the digits, int64 N; those that do not fill three images are left out.

    Returns:
        uint8 M×2H×2W×C, and which digits are there, float32 M×10.
    """
    each = MOST * (MOST + 1) // 2  # digits in one, two and three
    count = len(order) // each * MOST
    _, height, width, channels = digits.images.shape
    images = np.zeros((count, SIDE * height, SIDE * width, channels), np.uint8)
    labels = np.zeros((count, len(CLASSES)), np.float32)
    places = uniform((seed, AUGMENT), np.arange(count), SIDE**2).argsort(1)
    taken = iter(order.tolist())
    for k in range(count):
        for place in places[k, : k % MOST + 1]:
            digit, (row, column) = next(taken), divmod(int(place), SIDE)
            images[k, row * height : (row + 1) * height, column * width : (column + 1) * width] = digits.images[digit]
            labels[k, digits.labels[digit]] = 1
    return images, labels
