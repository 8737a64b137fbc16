"""Image files of every kind, whole and damaged."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import functional as reference

from recipelang.errors import Refusal
from recipelang.images.decode import inspect, normalise, open_image, prepare, read_bytes
from recipelang.images.resize import fit_image
from recipelang.kinds import Preprocessing


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def noise(width: int = 12, height: int = 10, mode: str = "RGB") -> Image.Image:
    random = np.random.default_rng(width * height)
    return Image.fromarray(random.integers(0, 256, (height, width, 3), dtype=np.uint8)).convert(mode)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    image = open_image(encoded(noise(mode=mode)), "x.png")
    assert (image.mode, image.size) == ("RGB", (12, 10))


def test_a_palette_with_transparency_is_read_without_a_warning() -> None:
    data = encoded(noise(mode="P"), transparency=bytes([0, 128] * 100))
    assert open_image(data, "x.png").mode == "RGB"


def test_16_bit_grey_is_scaled_and_not_cut_off() -> None:
    image = Image.fromarray(np.asarray([[0, 257, 32896, 65535]], np.uint16))
    got = np.asarray(open_image(encoded(image), "x.png"))
    assert got[0, :, 0].tolist() == [0, 1, 128, 255]


def test_a_photograph_is_turned_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90° to the right
    image = open_image(encoded(noise(20, 10), "JPEG", exif=exif), "x.jpg")
    assert image.size == (10, 20)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP"])
@settings(max_examples=25)
@given(st.floats(0, 0.95))
def test_a_file_that_is_cut_off_is_refused_with_its_name(kind: str, share: float) -> None:
    data = encoded(noise(40, 40), kind)
    cut = data[: int(len(data) * share)]
    with pytest.raises(Refusal) as caught:
        inspect(cut, "cats/<b>.png")
        open_image(cut, "cats/<b>.png")
    assert caught.value.code == "RCP0805"
    assert "cats/<b>.png" in caught.value.message


@given(st.binary(max_size=200))
def test_noise_is_refused_and_never_crashes(data: bytes) -> None:
    with pytest.raises(Refusal):
        open_image(data, "x")


def test_noise_in_a_file_is_refused_or_read() -> None:
    data = bytearray(encoded(noise(30, 30)))
    for position in range(8, len(data), 97):
        broken = bytes(data[:position]) + bytes([data[position] ^ 0xFF]) + bytes(data[position + 1 :])
        try:
            assert open_image(broken, "x").size == (30, 30)
        except Refusal as refusal:
            assert refusal.code in ("RCP0805", "RCP0806")


def bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that claims to be huge."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(b"\0" * 100))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [8_100, 12_000, 100_000])
def test_a_decompression_bomb_is_refused_before_it_is_decoded(side: int) -> None:
    with pytest.raises(Refusal) as caught:
        inspect(bomb(side, side), "bomb.png")
    assert caught.value.code == "RCP0806"


def test_a_file_too_large_for_an_image_is_not_even_read(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    with path.open("wb") as file:
        file.truncate(300_000_000)  # sparse
    with pytest.raises(Refusal) as caught:
        read_bytes(path, "x.png")
    assert caught.value.code == "RCP0806"


def test_normalise_is_the_formula_and_channels_last() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 5, 3), dtype=np.uint8)
    preprocessing = Preprocessing((6, 5), (0.1, 0.2, 0.3), (0.5, 0.6, 0.7))
    got = normalise(pixels, preprocessing)
    mean, std = torch.tensor(preprocessing.mean), torch.tensor(preprocessing.std)
    wanted = ((torch.from_numpy(pixels).double() / 255 - mean) / std).permute(0, 3, 1, 2)
    torch.testing.assert_close(got.double(), wanted, rtol=1e-5, atol=1e-6)
    assert got.is_contiguous(memory_format=torch.channels_last)


@given(st.integers(20, 300), st.integers(20, 300))
def test_resize_and_crop_is_near_torchvision(width: int, height: int) -> None:
    y, x = np.mgrid[0:height, 0:width]
    smooth = np.stack([x * 255 / width, y * 255 / height, (x + y) * 255 / (width + height)], 2).astype(np.uint8)
    image = Image.fromarray(smooth)
    got = fit_image(image, Preprocessing((64, 64), (0, 0, 0), (1, 1, 1), 73))
    wanted = np.asarray(reference.center_crop(reference.resize(image, [73]), [64, 64]))
    # torchvision rounds the size and the place to whole pixels, which a long side shows most
    assert np.abs(got.astype(int) - wanted).mean() < 4


def test_any_image_is_prepared_for_a_grey_network() -> None:
    got = prepare(noise(33, 21, "RGBA"), Preprocessing((8, 8), (0.3,), (0.4,)))
    assert tuple(got.shape) == (1, 1, 8, 8)
