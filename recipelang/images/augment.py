"""Augmentation, decided by uniform numbers that come from outside (`draws`), for whole batches at once."""

from __future__ import annotations

import math

import numpy as np

#: random numbers per image that each augmentation uses
SHIFT_DRAWS, CROP_DRAWS = 3, 5


def shift_and_flip(images: np.ndarray, draws: np.ndarray, padding: int | tuple[int, int], flip: bool) -> np.ndarray:
    """Crop at random from the image padded with black, and mirror half of the images.

    The augmentation of He et al. 2016 (section 4.2): padding 4 and flips for 32×32 pixels.

    Args:
        images: uint8 B×H×W×C.
        draws: uniform in [0, 1), B×3: row offset, column offset, flip.
        padding: black pixels on each side, 0 or more; a pair is (above and below, left and right).
        flip: whether to mirror; not for digits, whose mirror images are different signs.

    Returns:
        uint8 B×H×W×C.
    """
    count, height, width, _ = images.shape
    down, across = padding if isinstance(padding, tuple) else (padding, padding)
    padded = np.pad(images, ((0, 0), (down, down), (across, across), (0, 0)))
    offset = (draws[:, :2] * (2 * np.asarray([down, across]) + 1)).astype(np.int64)
    rows = offset[:, 0, None] + np.arange(height)
    columns = np.broadcast_to(np.arange(width), (count, width))
    if flip:
        columns = np.where(draws[:, 2, None] < 0.5, columns[:, ::-1], columns)
    columns = offset[:, 1, None] + columns
    return padded[np.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]


def crop_box(width: int, height: int, draws: np.ndarray) -> tuple[float, float, float, float]:
    """Part of an image for a random-resized crop (Szegedy et al. 2015): 8–100 % of its area, sides 3:4 to 4:3.

    The share of the area is uniform, the ratio of width to height log-uniform, the position uniform. One draw decides
    each; a shape that does not fit is clipped to the image, where torchvision would draw again.

    Args:
        width, height: of the image, in pixels.
        draws: uniform in [0, 1), at least 4: area, shape, column, row.

    Returns:
        (left, top, right, bottom) in pixels.
    """
    area = width * height * (0.08 + 0.92 * draws[0])
    ratio = math.exp(math.log(3 / 4) + draws[1] * math.log(16 / 9))
    w, h = min(width, math.sqrt(area * ratio)), min(height, math.sqrt(area / ratio))
    left, top = draws[2] * (width - w), draws[3] * (height - h)
    return left, top, left + w, top + h
