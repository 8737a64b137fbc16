"""From an image file to uint8 pixels, and from pixels to what a network takes."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from recipelang.errors import Refusal
from recipelang.images.augment import crop_box
from recipelang.kinds import Preprocessing

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".ppm", ".pgm", ".gif", ".tif", ".tiff"})
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "PPM", "GIF", "TIFF")
LARGEST_PIXELS = 64_000_000
LARGEST_BYTES = 256_000_000
#: what Pillow raises for damaged files, its warnings among them where they are errors
_DAMAGE = (OSError, ValueError, SyntaxError, TypeError, OverflowError, EOFError, IndexError, MemoryError, Warning)


def shown(path: str | Path) -> str:
    """A file name that is safe to print: what cannot be printed is escaped."""
    text = str(path)
    return text if text.isprintable() else ascii(text)[1:-1]


def _too_large(name: str, what: str) -> Refusal:
    return Refusal(
        "RCP0806",
        f"the image `{shown(name)}` is too large: {what}",
        f"scale it down: images may have {LARGEST_PIXELS // 10**6} million pixels and {LARGEST_BYTES // 10**6} MB",
    )


def _unreadable(name: str, why: object) -> Refusal:
    return Refusal(
        "RCP0805",
        f"the image `{shown(name)}` cannot be read: {shown(str(why))}",
        "replace the file by an intact copy, or remove it",
    )


def read_bytes(path: Path, name: str) -> bytes:
    """The bytes of an image file.

    Raises:
        Refusal: RCP0805 the file cannot be read; RCP0806 it is too large to be an image.
    """
    try:
        size = path.stat().st_size
        if size > LARGEST_BYTES:
            raise _too_large(name, f"{size:,} bytes")
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(name, error.strerror or error) from error


def inspect(data: bytes, name: str) -> None:
    """Read the header alone, to find early what is no image, is too large or was cut off.

    Raises:
        Refusal: RCP0805, RCP0806.
    """
    with _open(data, name) as image:
        # A download that broke off is the commonest damage; the end mark finds it without decoding.
        end = {"JPEG": b"\xff\xd9", "PNG": b"IEND"}.get(image.format or "")
    if end and end not in data:
        raise _unreadable(name, "the file is cut off")


def _open(data: bytes, name: str) -> Image.Image:
    """The image, header read, pixels not yet."""
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(name, "more pixels than Pillow opens") from error
    except UnidentifiedImageError as error:
        raise _unreadable(name, "it is no image") from error
    except _DAMAGE as error:
        raise _unreadable(name, error) from error
    if image.width * image.height > LARGEST_PIXELS:
        raise _too_large(name, f"{image.width}×{image.height} pixels")
    return image


def open_picture(data: bytes, name: str) -> Image.Image:
    """The decoded picture as RGB, turned upright by its EXIF orientation.

    Args:
        data: the bytes of an image file.
        name: what a message calls it.

    Raises:
        Refusal: RCP0805 the file is damaged or no image; RCP0806 it is too large.
    """
    image = _open(data, name)
    try:
        image.load()
        return as_rgb(ImageOps.exif_transpose(image))
    except _DAMAGE as error:
        raise _unreadable(name, error or type(error).__name__) from error


def as_rgb(image: Image.Image) -> Image.Image:
    """RGB, 8 bits: 16-bit grey is scaled (Pillow would cut it off), transparency is dropped."""
    if image.mode.startswith("I;16") or image.mode == "I":
        return Image.fromarray((np.asarray(image).clip(0, 65535) // 257).astype(np.uint8)).convert("RGB")
    if "transparency" in image.info:
        image = image.convert("RGBA")
    return image if image.mode == "RGB" else image.convert("RGB")


def fit_picture(image: Image.Image, preprocessing: Preprocessing) -> np.ndarray:
    """Resize and centre-crop as `preprocessing` says.

    Args:
        image: RGB, or L where the network takes one channel.

    Returns:
        uint8 H×W×C.
    """
    height, width = preprocessing.size
    if preprocessing.resize is None:
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    else:
        scale = preprocessing.resize / min(image.size)
        tall, wide = round(image.height * scale), round(image.width * scale)
        # The part of the original that the centre crop shows: one resampling, and nothing enlarged for nothing.
        half = width / 2 / wide * image.width, height / 2 / tall * image.height
        middle = image.width / 2, image.height / 2
        box = (
            max(0.0, middle[0] - half[0]),
            max(0.0, middle[1] - half[1]),
            min(float(image.width), middle[0] + half[0]),
            min(float(image.height), middle[1] + half[1]),
        )
        image = image.resize((width, height), Image.Resampling.BILINEAR, box=box)
    return _channels_last(image)


def random_part(image: Image.Image, preprocessing: Preprocessing, draws: np.ndarray) -> np.ndarray:
    """A random-resized crop, mirrored every second time: uint8 H×W×C. `draws` are 5 uniform numbers."""
    height, width = preprocessing.size
    box = crop_box(image.width, image.height, draws)
    image = image.resize((width, height), Image.Resampling.BILINEAR, box=box)
    return _channels_last(ImageOps.mirror(image) if draws[4] < 0.5 else image)


def _channels_last(image: Image.Image) -> np.ndarray:
    pixels = np.asarray(image)
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


def normalise(pixels: np.ndarray, preprocessing: Preprocessing) -> Tensor:
    """uint8 B×H×W×C → float32 B×C×H×W, scaled to 0…1 and normalised; channels_last in memory.

    Pictures of another size than `preprocessing.size` are resized bilinearly.
    """
    mean = torch.tensor(preprocessing.mean).mul(255).view(1, -1, 1, 1)
    scale = torch.tensor(preprocessing.std).mul(255).reciprocal().view(1, -1, 1, 1)
    images = torch.from_numpy(np.require(pixels, requirements=("C", "W"))).permute(0, 3, 1, 2).to(torch.float32)
    if tuple(images.shape[2:]) != tuple(preprocessing.size):
        images = torch.nn.functional.interpolate(images, preprocessing.size, mode="bilinear", antialias=True)
    return images.sub_(mean).mul_(scale)


def prepare(image: Image.Image, preprocessing: Preprocessing) -> Tensor:
    """Any picture as an input for a network: float32 1×C×H×W.

    Args:
        image: a PIL picture of any mode and size.
        preprocessing: of the data that the network was trained on; one mean means one grey channel.
    """
    upright = as_rgb(ImageOps.exif_transpose(image))
    picture = upright.convert("L") if len(preprocessing.mean) == 1 else upright
    return normalise(fit_picture(picture, preprocessing)[None], preprocessing)
