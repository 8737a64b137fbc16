"""From an image file to uint8 pixels, and from pixels to what a network takes as input."""

from __future__ import annotations

import io
import stat
import struct
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from PIL import Image, UnidentifiedImageError

from recipelang.errors import Refusal
from recipelang.images.depth import NoRange, is_deep, samples_of, stated_top, to_eight, white_is_zero
from recipelang.images.resize import fit_image
from recipelang.kinds import Preprocessing
from recipelang.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".ppm", ".pgm", ".gif", ".tif", ".tiff"})
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "PPM", "GIF", "TIFF")
LARGEST_PIXELS = 64_000_000
LARGEST_BYTES = 256_000_000
SUSPICIOUS_BYTES = 16_000_000  # the header of a larger file is checked before it is read
LARGEST_SIDE = 65_535  # as in JPEG; resizing needs memory for the longer side, even of a very thin image
#: what Pillow raises for damaged files, its warnings among them where they are errors
_DAMAGE = (
    *(OSError, ValueError, SyntaxError, TypeError, OverflowError, EOFError, IndexError, KeyError, MemoryError, Warning),
    *(RuntimeError, struct.error),
)
_ORIENTATION = 0x0112  # tag of EXIF
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

_MIRRORED = (Image.Transpose.TRANSPOSE, Image.Transpose.TRANSVERSE)


def shown(path: str | Path) -> str:
    """A file name that is safe to print: characters that cannot be printed are escaped."""
    text = str(path)
    return text if text.isprintable() else ascii(text)[1:-1]


def _too_large(name: str, what: str) -> Refusal:
    return Refusal(
        "RCP0806",
        f"the image `{shown(name)}` is too large: {what}",
        f"scale it down: images may have {LARGEST_PIXELS // 10**6} million pixels, {LARGEST_SIDE:,} to a side, and "
        f"{LARGEST_BYTES // 10**6} MB",
    )


def unreadable_image(name: str, why: object, help: str = "") -> Refusal:
    """The refusal for an image that cannot be read (RCP0805)."""
    return Refusal(
        "RCP0805",
        f"the image `{shown(name)}` cannot be read: {shown(str(why))}",
        help or "replace the file with an intact copy, or remove it",
    )


def read_bytes(path: Path, name: str) -> bytes:
    """The bytes of an image file.

    Raises:
        Refusal: RCP0805 the file cannot be read; RCP0806 it is too large to be an image.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise unreadable_image(name, "it is not a file")  # reading a pipe would wait for ever
        if status.st_size > LARGEST_BYTES:
            raise _too_large(name, f"{status.st_size:,} bytes")
        if status.st_size > SUSPICIOUS_BYTES:
            with path.open("rb") as file:
                _open(file, name)
        return path.read_bytes()
    except OSError as error:
        raise unreadable_image(name, error.strerror or error) from error
    except ValueError as error:  # no system has such a path
        raise unreadable_image(name, error) from error


def whole_image(data: bytes | None, name: str) -> bytes:
    """The bytes of an image that is not a file of its own, if they may be one.

    Raises:
        Refusal: RCP0805 there are none; RCP0806 there are too many.
    """
    if not data:
        raise unreadable_image(name, "it is empty")
    if len(data) > LARGEST_BYTES:
        raise _too_large(name, f"{len(data):,} bytes")
    return data


@dataclass(frozen=True)
class Look:
    """What a first look at an image file shows.

    Attributes:
        frames: whether it has several frames, of which the first is used.
        peak: largest sample of a 16-bit image that does not say how many bits it uses; None for other images.
    """

    frames: bool = False
    peak: int | None = None


def inspect(data: bytes, name: str) -> Look:
    """Read the header, to find early what is not an image, too large or cut off; of 16-bit images the samples too.

    Raises:
        Refusal: RCP0805, RCP0806.
    """
    image = _open(data, name)
    # A download that broke off is the commonest damage; the end mark finds it without decoding.
    end = {"JPEG": b"\xff\xd9", "PNG": b"IEND"}.get(image.format or "")
    if end and end not in data:
        raise unreadable_image(name, "the file is cut off")
    try:
        frames = image.format != "MPO" and bool(getattr(image, "is_animated", False))
        image.seek(0)
        if not is_deep(image, data):
            return Look(frames)
        image.load()
        samples = samples_of(image, data)
        return Look(frames, int(samples.max()) if stated_top(image, data) is None else None)
    except NoRange as error:
        raise unreadable_image(name, error, "save the image with 8 or 16 bits, scaled so that 0 is black") from error
    except _DAMAGE as error:
        raise unreadable_image(name, error or type(error).__name__) from error


def _open(data: bytes | BinaryIO, name: str) -> Image.Image:
    """The image, header read, pixels not yet.

    Raises:
        Refusal: RCP0805, RCP0806.
    """
    try:
        image = Image.open(io.BytesIO(data) if isinstance(data, bytes) else data, formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(name, "more pixels than Pillow opens") from error
    except UnidentifiedImageError as error:
        raise unreadable_image(name, "it is not an image") from error
    except _DAMAGE as error:
        raise unreadable_image(name, error) from error
    if image.width * image.height > LARGEST_PIXELS or max(image.size) > LARGEST_SIDE:
        raise _too_large(name, f"{image.width}×{image.height} pixels")
    return image


def size_of(data: bytes | BinaryIO, name: str) -> tuple[int, int]:
    """(height, width) of an image as `open_image` turns it, from its header.

    Raises:
        Refusal: RCP0805, RCP0806.
    """
    image = _open(data, name)
    try:
        if image.format == "TIFF":
            image.load()  # turns it upright
            return image.height, image.width
        turn = _TURNS.get(image.getexif().get(_ORIENTATION, 1))
    except _DAMAGE as error:
        raise unreadable_image(name, error or type(error).__name__) from error
    across = turn in (Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_270, *_MIRRORED)
    return (image.width, image.height) if across else (image.height, image.width)


def open_image(data: bytes, name: str, channels: int = 3, bits: int | None = None) -> Image.Image:
    """The decoded image as RGB, or grey for one channel, turned upright by its EXIF orientation.

    Args:
        data: the bytes of an image file.
        name: the name used in messages.
        channels: 3, or 1.
        bits: how many bits a 16-bit image uses if its file does not say; None: all 16.

    Raises:
        Refusal: RCP0805 the file is damaged, is not an image or has no range from black to white; RCP0806 too large.
    """
    image = _open(data, name)
    try:
        image.load()
        return _upright(image, channels, bits, data)
    except NoRange as error:
        raise unreadable_image(name, error, "save the image with 8 or 16 bits, scaled so that 0 is black") from error
    except _DAMAGE as error:
        raise unreadable_image(name, error or type(error).__name__) from error


def _upright(image: Image.Image, channels: int, bits: int | None, data: bytes = b"") -> Image.Image:
    """8 bits, RGB or grey, turned upright; transparency is dropped, so that a colour is the one stored in the file."""
    image.load()  # TIFF is turned upright by Pillow as it is loaded
    turn = _TURNS.get(image.getexif().get(_ORIENTATION, 1))
    if is_deep(image, data):
        top = stated_top(image, data) or (2**bits - 1 if bits else 65535)
        eight = to_eight(samples_of(image, data), top)
        image = Image.fromarray(255 - eight if white_is_zero(image) else eight)
    if "transparency" in image.info and image.mode != "RGBA":
        image = image.convert("RGBA")
    if image.mode != ("L" if channels == 1 else "RGB"):
        image = image.convert("L" if channels == 1 and image.mode in ("1", "L", "LA", "La") else "RGB")
    if channels == 1 and image.mode != "L":
        image = image.convert("L")
    return image.transpose(turn) if turn is not None else image


def normalise(pixels: np.ndarray, preprocessing: Preprocessing) -> Tensor:
    """uint8 B×H×W×C → float32 B×C×H×W, scaled to 0…1 and normalised; channels_last in memory.

    Images of a size other than `preprocessing.size` are resized with its interpolation.
    """
    mean = torch.tensor(preprocessing.mean).mul(255).view(1, -1, 1, 1)
    scale = torch.tensor(preprocessing.std).mul(255).reciprocal().view(1, -1, 1, 1)
    images = torch.from_numpy(np.require(pixels, requirements=("C", "W"))).permute(0, 3, 1, 2).to(torch.float32)
    if tuple(images.shape[2:]) != tuple(preprocessing.size):
        mode = preprocessing.interpolation
        images = torch.nn.functional.interpolate(images, preprocessing.size, mode=mode, antialias=True)
        images = images.clamp_(0, 255)  # bicubic overshoots
    return images.sub_(mean).mul_(scale)


def prepare(image: Image.Image, preprocessing: Preprocessing, *, whole: bool = False) -> Tensor:
    """Any image as an input for a network: float32 1×C×H×W.

    Args:
        image: a PIL image of any mode and size.
        preprocessing: the one used in the network's training; a single mean stands for one grey channel.
        whole: whether the image keeps its size.

    Raises:
        Refusal: RCP0805: the image has no range from black to white.
    """
    try:
        return _prepared(_upright(image, len(preprocessing.mean), preprocessing.bits), preprocessing, whole)
    except NoRange as error:
        raise unreadable_image("in memory", error, "scale it to 8 or 16 bits, so that 0 is black") from error


def prepare_file(path: Path, preprocessing: Preprocessing, *, whole: bool = False) -> Tensor:
    """The image in a file as an input for a network: float32 1×C×H×W.

    Raises:
        Refusal: RCP0805, RCP0806: as `open_image`.
    """
    data = read_bytes(path, str(path))
    return _prepared(open_image(data, str(path), len(preprocessing.mean), preprocessing.bits), preprocessing, whole)


def _prepared(image: Image.Image, preprocessing: Preprocessing, whole: bool) -> Tensor:
    if whole:
        preprocessing = replace(preprocessing, size=(image.height, image.width), resize=None, via=None)
    if preprocessing.via is not None:
        first = replace(preprocessing, size=preprocessing.via, resize=None, interpolation="bilinear")
        return normalise(fit_image(image, first)[None], preprocessing)
    return normalise(fit_image(image, preprocessing)[None], preprocessing)
