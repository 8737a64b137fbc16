"""From a decoded image to the pixels that a network is given: resized and cropped, at random or at the centre."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageOps

from recipelang.images.augment import crop_box
from recipelang.kinds import Preprocessing

WORTHWHILE = 8  # an image of up to this many times the pixels of its crop is resized as a whole before it is cropped
_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def fit_image(image: Image.Image, preprocessing: Preprocessing) -> np.ndarray:
    """Resize and centre-crop as `preprocessing` says.

    Args:
        image: RGB, or L if the network takes one channel.

    Returns:
        uint8 H×W×C.
    """
    height, width = preprocessing.size
    how = _FILTERS[preprocessing.interpolation]
    if preprocessing.resize is None:
        return channels_last(image.resize((width, height), how))
    if preprocessing.crop == "rounded":
        columns, rows = _resized(image.size, preprocessing.resize, preprocessing.size)
        if columns * rows <= WORTHWHILE * width * height:  # bit for bit what torchvision does
            left, top = round((columns - width) / 2), round((rows - height) / 2)
            return channels_last(image.resize((columns, rows), how).crop((left, top, left + width, top + height)))
    # One resampling of the part that is kept: the rest of a long image would be enlarged for nothing.
    return channels_last(image.resize((width, height), how, box=_crop(image.size, preprocessing)))


def _crop(size: tuple[int, int], preprocessing: Preprocessing) -> tuple[float, float, float, float]:
    """The part of an image that its centre crop shows.

    Args:
        size: (width, height) of the image.

    Returns:
        (left, top, right, bottom) in pixels of the image.
    """
    assert preprocessing.resize is not None
    (wide, tall), (height, width) = size, preprocessing.size
    if preprocessing.crop == "rounded":
        columns, rows = _resized(size, preprocessing.resize, preprocessing.size)
        left, top = float(round((columns - width) / 2)), float(round((rows - height) / 2))
    else:
        scale = preprocessing.resize / min(size)
        rows, columns = round(tall * scale), round(wide * scale)
        left, top = (columns - width) / 2, (rows - height) / 2
    across, down = wide / columns, tall / rows
    return (
        max(0.0, left * across),
        max(0.0, top * down),
        min(float(wide), (left + width) * across),
        min(float(tall), (top + height) * down),
    )


def _resized(size: tuple[int, int], shorter: int, crop: tuple[int, int]) -> tuple[int, int]:
    """(width, height) before the crop, in whole pixels.

    For a square crop the shorter side becomes `shorter` and the other one is rounded down, as torchvision's `Resize`
    does; for another crop the image becomes the smallest one that covers the crop with the same margin.
    """
    (wide, tall), (height, width) = size, crop
    if height == width:
        if wide <= tall:
            return shorter, int(shorter * tall / wide)
        return int(shorter * wide / tall), shorter
    margin = shorter / min(crop)
    scale = max(width * margin / wide, height * margin / tall)
    return max(width, round(wide * scale)), max(height, round(tall * scale))


def random_part(image: Image.Image, preprocessing: Preprocessing, draws: np.ndarray, flip: bool = True) -> np.ndarray:
    """A random-resized crop, with `flip` mirrored with probability 1/2: uint8 H×W×C. `draws` are 5 uniform numbers."""
    height, width = preprocessing.size
    box = crop_box(image.width, image.height, draws)
    image = image.resize((width, height), _FILTERS[preprocessing.interpolation], box=box)
    return channels_last(ImageOps.mirror(image) if flip and draws[4] < 0.5 else image)


def channels_last(image: Image.Image) -> np.ndarray:
    """The pixels of an image, uint8 H×W×C; C is 1 for a grey one."""
    pixels = np.asarray(image)
    return pixels[:, :, None] if pixels.ndim == 2 else pixels
