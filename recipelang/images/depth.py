"""From samples of more than 8 bits to 8 bits: the whole range is kept, and no range is guessed.

A 16-bit file may use fewer bits: PNG says so in `sBIT`, TIFF in `BitsPerSample` and `MaxSampleValue`; where a file does
not say, the data set has a setting (`bits`). Samples without a stated range (floats, 32 bits, signed) are refused.
"""

from __future__ import annotations

import io
import struct
import sys

import numpy as np
from PIL import Image

_BITS_PER_SAMPLE, _PHOTOMETRIC, _MAX_SAMPLE = 258, 262, 281  # tags of TIFF
_WHITE_IS_ZERO = 0
#: files that use no value above this may use fewer bits than they have
HALF = 2**15


class NoRange(ValueError):
    """Samples without a known value for black and for white."""


def is_deep(image: Image.Image, data: bytes) -> bool:
    """Whether the samples of an image file have more than 8 bits."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return True
    if image.format == "TIFF":
        return max(_bits_of(image)) > 8
    return _is_deep_png(data)


def samples_of(image: Image.Image, data: bytes = b"") -> np.ndarray:
    """The samples of a deep image as they are stored: uint16 H×W or H×W×3, without transparency.

    Args:
        image: loaded, from a file or from memory.
        data: the bytes of its file; empty for an image in memory.

    Raises:
        NoRange: samples without a stated range: floats, 32 bits, signed.
    """
    if image.mode == "F":
        raise NoRange("its samples are floats, which have no range from black to white")
    if image.mode == "I" or image.mode.startswith("I;16"):
        samples = np.asarray(image)
        wide = image.format == "TIFF" and image.mode == "I"
        if wide or samples.min(initial=0) < 0 or samples.max(initial=0) > 65535:
            raise NoRange("its samples are signed or have 32 bits, and have no range from black to white")
        return samples.astype(np.uint16)
    if _is_deep_png(data) and data[25:26] == b"\x04":  # grey and alpha: one 32-bit number per pixel
        return (_read_as(data, "I", "I;32B") >> 16 & 0xFFFF).astype(np.uint16)
    upper = np.asarray(image)[..., :3].astype(np.uint16)
    lower = _lower_bytes(data)
    if lower is not None and lower.shape == upper.shape:
        return upper << 8 | lower
    if upper.max(initial=0) < HALF >> 8:
        raise NoRange("its 16-bit colours use less than half of their range, and only their upper 8 bits are read")
    return upper * 257


def stated_top(image: Image.Image, data: bytes) -> int | None:
    """The largest value that a sample can have, as stated by the file; None if it says only that there are 16 bits."""
    if image.format == "PPM":
        return 65535  # Pillow scales by the file's own maximum
    if image.format == "TIFF":
        bits = max(_bits_of(image))
        top: object = _tag(image, _MAX_SAMPLE)
        top = max(top) if isinstance(top, tuple) and top else top
        if bits < 16:
            return 2**bits - 1
        return top if isinstance(top, int) and 255 < top < 65535 else None
    significant = _significant_bits(data)
    return None if significant is None else 2**significant - 1


def white_is_zero(image: Image.Image) -> bool:
    """Whether small samples are bright in a file that Pillow does not invert itself: 16-bit grey TIFF."""
    return image.format == "TIFF" and image.mode.startswith("I;16") and _tag(image, _PHOTOMETRIC) == _WHITE_IS_ZERO


def to_eight(samples: np.ndarray, top: int) -> np.ndarray:
    """uint16 from 0 to `top` → uint8 from 0 to 255, rounded to the nearest; values above `top` become white."""
    wide = samples.astype(np.uint32)
    return np.minimum((wide * 255 + top // 2) // top, 255).astype(np.uint8)


def _lower_bytes(data: bytes) -> np.ndarray | None:
    """The lower bytes of 16-bit colours, uint16 H×W×3; None if they cannot be read.

    Pillow keeps only the upper 8 bits of such samples; read in the other byte order, it keeps the lower ones.
    """
    with Image.open(io.BytesIO(data)) as image:
        raw = image.tile[0].args or ""
        mode, _, order = str(raw if isinstance(raw, str) else raw[0]).partition(";16")
        other = {"L": "B", "B": "L", "N": "B" if sys.byteorder == "little" else "L"}.get(order)
        if mode not in ("RGB", "RGBA", "RGBX") or other is None:
            return None
    return _read_as(data, image.mode, f"{mode};16{other}")[..., :3].astype(np.uint16)


def _read_as(data: bytes, mode: str, raw: str) -> np.ndarray:
    """The pixels of an image file, unpacked in another way than its header says."""
    with Image.open(io.BytesIO(data)) as image:
        image._mode = mode
        image.tile = [
            tile._replace(args=raw if isinstance(tile.args, str) else (raw, *(tile.args or ())[1:]))
            for tile in image.tile
        ]
        image.load()
        return np.asarray(image)


def _bits_of(image: Image.Image) -> tuple[int, ...]:
    bits = _tag(image, _BITS_PER_SAMPLE)
    return bits if isinstance(bits, tuple) and bits else (bits if isinstance(bits, int) else 8,)


def _tag(image: Image.Image, number: int) -> object:
    tags = getattr(image, "tag_v2", None)
    return tags.get(number) if tags is not None else None


def _is_deep_png(data: bytes) -> bool:
    return data[:8] == b"\x89PNG\r\n\x1a\n" and data[12:16] == b"IHDR" and data[24:25] == b"\x10"


def _significant_bits(data: bytes) -> int | None:
    """The largest entry of a PNG's `sBIT`; None if there is none, or only an invalid one."""
    if not _is_deep_png(data):
        return None
    at = 8
    while at + 8 <= len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        if kind in (b"IDAT", b"PLTE"):
            return None
        if kind == b"sBIT":
            entries = data[at + 8 : at + 8 + min(length, 4)]
            return max(entries) if entries and 8 < max(entries) <= 16 else None
        at += 12 + length
    return None
