"""Images of more than 8 bits keep their range, from any writer; an unknown value of white is not guessed."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, TiffImagePlugin

from recipelang import catalogue
from recipelang.errors import Refusal, SettingError
from recipelang.images.decode import inspect, open_image, prepare
from recipelang.kinds import Preprocessing

LEVELS = np.asarray([[0, 1, 100, 128, 257, 5_000], [20_000, 32_767, 32_768, 50_000, 65_534, 65_535]], np.uint16)


def eight(samples: np.ndarray, top: int = 65_535) -> np.ndarray:
    """The law, in exact arithmetic: 255·sample/top to the nearest."""
    return np.asarray(np.floor(samples.astype(float) * 255 / top + 0.5), np.uint8)


def png(samples: np.ndarray, kind: int, *extra: tuple[bytes, bytes]) -> bytes:
    """A PNG of 16-bit samples, H×W or H×W×C: colour type 0 grey, 2 RGB, 4 grey and alpha, 6 RGBA."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", samples.shape[1], samples.shape[0], 16, kind, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    parts = [(b"IHDR", header), *extra, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def tiff(samples: np.ndarray, order: str = "<", *, packed: bool = False, **tags: int) -> bytes:
    """A TIFF of one strip, packed by zlib or not: H×W or H×W×3, of any type of number."""
    kinds = {"u": 1, "i": 2, "f": 3}
    bits, colours = samples.dtype.itemsize * 8, samples.shape[2] if samples.ndim == 3 else 1
    data = samples.astype(samples.dtype.newbyteorder(order)).tobytes()
    data = zlib.compress(data) if packed else data
    entries = {
        256: samples.shape[1], 257: samples.shape[0], 258: bits, 259: 8 if packed else 1,
        262: 2 if colours == 3 else 1, 273: 0, 277: colours, 278: samples.shape[0], 279: len(data),
        339: kinds[samples.dtype.kind],
    }  # fmt: skip
    entries |= {{"photometric": 262, "maximum": 281, "bits": 258}[name]: value for name, value in tags.items()}
    count = len(entries)
    after = 8 + 2 + 12 * count + 4
    more = struct.pack(order + "HHH", bits, bits, bits) + struct.pack(order + "HHH", *[entries[339]] * 3)
    entries[273] = after + len(more)
    rows = b""
    for tag, value in sorted(entries.items()):
        if colours == 3 and tag in (258, 339):
            rows += struct.pack(order + "HHII", tag, 3, 3, after + (0 if tag == 258 else 6))
        else:
            rows += struct.pack(order + "HHII", tag, 4, 1, value)
    mark = b"II" if order == "<" else b"MM"
    return mark + struct.pack(order + "HI", 42, 8) + struct.pack(order + "H", count) + rows + b"\0\0\0\0" + more + data


def read(data: bytes, channels: int = 3, bits: int | None = None) -> np.ndarray:
    inspect(data, "x")
    return np.asarray(open_image(data, "x", channels, bits))


# grey -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        png(LEVELS, 0),
        png(np.stack([LEVELS, LEVELS[::-1]], 2), 4),
        tiff(LEVELS),
        tiff(LEVELS, ">"),
        tiff(65_535 - LEVELS, photometric=0),  # white is zero
        b"P5 6 2 65535\n" + LEVELS.astype(">u2").tobytes(),
    ],
    ids=["png", "png with alpha", "tiff", "big-endian tiff", "white is zero", "pgm"],
)
def test_16_bits_of_grey(data: bytes) -> None:
    assert read(data, 1).tolist() == eight(LEVELS).tolist()
    assert (read(data) == eight(LEVELS)[:, :, None]).all()


@pytest.mark.parametrize("packed", [False, True])
def test_where_white_is_zero_the_range_is_that_of_the_stored_samples(packed: bool) -> None:
    """4,095 is black then; a peak of the inverted samples would hide that only 12 bits are used."""
    twelve = np.asarray([[0, 1, 2_048, 4_095]], np.uint16)
    data = tiff(twelve, photometric=0, packed=packed)
    assert inspect(data, "x").peak == 4_095
    assert read(data, 1, bits=12).tolist() == (255 - eight(twelve, 4_095)).tolist()
    said = tiff(twelve, photometric=0, packed=packed, maximum=4_095)
    assert read(said, 1).tolist() == (255 - eight(twelve, 4_095)).tolist() and inspect(said, "x").peak is None


def test_a_pgm_of_12_bits_says_so_itself() -> None:
    twelve = np.asarray([[0, 1, 2_048, 4_095]], np.uint16)
    data = b"P5 4 1 4095\n" + twelve.astype(">u2").tobytes()
    assert read(data, 1).tolist() == eight(twelve, 4_095).tolist() and inspect(data, "x").peak is None


@pytest.mark.parametrize("bits", [9, 10, 12, 14, 15, 16])
def test_files_that_say_how_many_bits_they_use(bits: int) -> None:
    top = 2**bits - 1
    samples = np.linspace(0, top, 12).round().astype(np.uint16).reshape(3, 4)
    said = [png(samples, 0, (b"sBIT", bytes([bits])))] + ([tiff(samples, maximum=top)] if bits < 16 else [])
    for data in said:
        assert read(data, 1).tolist() == eight(samples, top).tolist()
        assert read(data, 1, bits=11).tolist() == eight(samples, top).tolist()  # the file knows better
    colour = np.stack([samples, samples[::-1], samples], 2)
    assert (read(png(colour, 2, (b"sBIT", bytes([bits] * 3)))) == eight(colour, top)).all()


# colour -----------------------------------------------------------------------------------------------


def test_16_bits_of_colour() -> None:
    colour = np.stack([LEVELS, LEVELS[::-1], LEVELS[:, ::-1]], 2)
    alpha = np.concatenate([colour, LEVELS[:, :, None]], 2)
    assert (read(png(colour, 2)) == eight(colour)).all()
    assert (read(png(alpha, 6)) == eight(colour)).all()  # transparency is dropped
    for order in "<>":
        for packed in (False, True):
            assert (read(tiff(colour, order, packed=packed)) == eight(colour)).all()


def test_colours_of_12_bits_in_16() -> None:
    colour = np.random.default_rng(0).integers(0, 4_096, (4, 5, 3)).astype(np.uint16)
    assert (read(png(colour, 2), bits=12) == eight(colour, 4_095)).all()
    for order in "<>":
        assert (read(tiff(colour, order), bits=12) == eight(colour, 4_095)).all()
        assert inspect(tiff(colour, order), "x").peak == colour.max()


# without a range --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.uint32, np.int16])
@pytest.mark.parametrize("order", ["<", ">"])
def test_samples_without_a_range_are_refused(dtype: Any, order: str) -> None:
    samples = np.linspace(0, 1 if dtype is np.float32 else 30_000, 12).reshape(3, 4).astype(dtype)
    if dtype is np.int16 or (dtype is np.uint32 and order == ">"):
        samples -= samples.max() // 2 if dtype is np.int16 else 0
    with pytest.raises(Refusal) as refused:
        inspect(tiff(samples, order), "scan.tif")
    assert refused.value.code == "RCP0805" and "scan.tif" in refused.value.message


def test_an_image_in_memory_has_the_range_of_16_bits_or_none() -> None:
    how = Preprocessing((2, 6), (0.0,), (1.0,))
    for image in (Image.fromarray(LEVELS), Image.fromarray(LEVELS.astype(np.int32))):
        torch.testing.assert_close(prepare(image, how)[0, 0], torch.from_numpy(eight(LEVELS)) / 255)
    for wrong in (LEVELS.astype(np.float32), LEVELS.astype(np.int32) * 2, -LEVELS.astype(np.int32)):
        with pytest.raises(Refusal) as refused:
            prepare(Image.fromarray(wrong), how)
        assert refused.value.code == "RCP0805"


# other modes ------------------------------------------------------------------------------------------


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def test_modes_of_8_bits_and_fewer() -> None:
    grey = np.asarray([[0, 1, 127, 255]], np.uint8)
    one = Image.fromarray(np.asarray([[0, 255, 255, 0]], np.uint8)).convert("1")
    assert read(saved(one, "PNG"), 1).tolist() == [[0, 255, 255, 0]]
    alpha = Image.merge("LA", [Image.fromarray(grey), Image.fromarray(grey[:, ::-1].copy())])
    assert read(saved(alpha, "PNG"), 1).tolist() == grey.tolist()
    assert read(saved(Image.fromarray(grey), "PNG")).tolist() == np.repeat(grey[:, :, None], 3, 2).tolist()
    cmyk = Image.merge("CMYK", [Image.new("L", (8, 8), v) for v in (0, 255, 255, 0)])  # pure red
    assert np.abs(read(saved(cmyk, "TIFF")).astype(int) - [255, 0, 0]).max() <= 1
    assert np.abs(read(saved(cmyk, "JPEG", quality=100)).astype(int) - [255, 0, 0]).max() <= 6


@pytest.mark.parametrize("transparency", [None, 1, bytes([0, 128, 255])])
def test_a_palette_gives_the_colours_that_it_holds(transparency: Any) -> None:
    image = Image.fromarray(np.asarray([[0, 1, 2, 1]], np.uint8)).convert("L")
    image.putpalette([10, 20, 30, 200, 100, 50, 0, 255, 9])
    options = {} if transparency is None else {"transparency": transparency}
    wanted = [[[10, 20, 30], [200, 100, 50], [0, 255, 9], [200, 100, 50]]]
    assert read(saved(image, "PNG", **options)).tolist() == wanted
    assert read(saved(image, "GIF")).tolist() == wanted


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "16-bit PNG", "16-bit TIFF"])
def test_every_orientation_is_turned_upright(orientation: int, kind: str) -> None:
    upright = np.arange(0, 240, 10, dtype=np.uint8).reshape(4, 6)
    # What a camera stores: the inverse of the turn that shows it (by the table of EXIF, written with arrays).
    stored = {
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1], 5: upright.T,
        6: np.rot90(upright), 7: upright[::-1, ::-1].T, 8: np.rot90(upright, -1),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    deep = kind.startswith("16-bit")
    samples = np.ascontiguousarray(stored).astype(np.uint16) * 257 if deep else np.ascontiguousarray(stored)
    options = {"lossless": True} if kind == "WEBP" else {}
    data = saved(Image.fromarray(samples), kind.removeprefix("16-bit "), exif=exif, **options)
    assert read(data, 1).tolist() == upright.tolist()
    shown = Image.open(io.BytesIO(data))
    got = prepare(shown, Preprocessing((4, 6), (0.0,), (1.0,)))[0, 0] * 255
    assert got.round().to(torch.uint8).tolist() == upright.tolist()


# data sets --------------------------------------------------------------------------------------------


def folder(root: Path, files: dict[str, bytes], **settings: Any) -> Any:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    method: Any = catalogue.find("data", "folder")
    return method("here", **({"size": 8, "batch": 4, "augment": "none"} | settings)).open(lambda _: root)


def scans(top: int, write: Any = lambda samples: png(samples, 0)) -> dict[str, bytes]:
    random = np.random.default_rng(top)
    samples = [random.integers(0, top + 1, (8, 8)).astype(np.uint16) for _ in range(20)]
    samples[0][0, 0] = top
    return {f"{'ab'[k % 2]}/{k}.png": write(one) for k, one in enumerate(samples)}


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_16_bit_images_of_an_unclear_range_are_refused_until_the_recipe_says_it(tmp_path: Path, bits: int) -> None:
    top = 2**bits - 1
    files = scans(top)
    with pytest.raises(Refusal, match=rf"20 16-bit images use no value above {top:,}") as refused:
        folder(tmp_path, files)
    assert refused.value.code == "RCP0820" and f"`bits={bits}`" in refused.value.help
    with pytest.raises(Refusal, match=f"`bits={bits - 1}`") as refused:
        folder(tmp_path, files, bits=bits - 1)
    assert refused.value.code == "RCP0820"
    data = folder(tmp_path, files, bits=bits, channels=1)
    shown = {x.numpy().tobytes() for s in ("train", "val", "test") for b, _ in data.batches(s) for x in b}
    mean, std = data.preprocessing.mean[0], data.preprocessing.std[0]
    for name in files:
        stored = np.asarray(Image.open(tmp_path / name))
        wanted = (eight(stored, top).astype(np.float64) / 255 - mean) / std
        assert any(np.allclose(np.frombuffer(x, np.float32).reshape(8, 8), wanted, atol=1e-4) for x in shown)
    dark = folder(tmp_path, files, bits=16)
    assert dark.fingerprint != data.fingerprint and dark.preprocessing.bits == 16
    assert float(torch.cat([x for x, _ in dark.batches("train")]).max()) < 0


def test_one_image_of_the_upper_half_is_enough_to_know_the_range(tmp_path: Path) -> None:
    files = scans(4_095)
    files["a/bright.png"] = png(np.full((8, 8), 40_000, np.uint16), 0)
    assert folder(tmp_path, files).size("train") > 0


def test_files_that_say_their_bits_need_no_word(tmp_path: Path) -> None:
    data = folder(tmp_path, scans(4_095, lambda samples: png(samples, 0, (b"sBIT", bytes([12])))))
    assert data.preprocessing.bits is None
    assert float(torch.cat([x for x, _ in data.batches("train")]).max()) > 1


def test_grey_data_stays_grey(tmp_path: Path) -> None:
    data = folder(tmp_path, scans(65_535), channels=1)
    images, _ = next(data.batches("train"))
    assert data.input_shape == (1, 8, 8) and images.shape[1] == 1
    large = folder(tmp_path, {}, channels=1, size=64)
    assert next(large.batches("train"))[0].shape[1:] == (1, 64, 64)
    with pytest.raises(SettingError):
        catalogue.find("data", "folder")("here", channels=2)  # type: ignore[misc]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("colours", [1, 3])
def test_damaged_deep_files_are_refused_or_read_and_never_crash(packed: bool, colours: int) -> None:
    samples = np.random.default_rng(0).integers(0, 65_536, (5, 6, 3)).astype(np.uint16)
    chosen = samples if colours == 3 else samples[..., 0]
    for data in (tiff(chosen, packed=packed), png(chosen, 2 if colours == 3 else 0, (b"sBIT", bytes([12] * colours)))):
        for at in range(len(data)):
            for value in (0, 0xFF, data[at] ^ 0x04):
                broken = data[:at] + bytes([value]) + data[at + 1 :]
                try:
                    inspect(broken, "x")
                    assert open_image(broken, "x").mode == "RGB"
                except Refusal as refusal:
                    assert refusal.code in ("RCP0805", "RCP0806")


def test_tiff_writes_what_pillow_reads() -> None:
    """The files of this test are as other programs write them."""
    with Image.open(io.BytesIO(tiff(LEVELS, maximum=4_095))) as image:
        assert isinstance(image, TiffImagePlugin.TiffImageFile) and image.tag_v2[281] == (4_095,)
        assert np.asarray(image).tolist() == LEVELS.tolist()
