"""Looking through folders: all that cannot be read at once, links, depths, many files, and what is remembered."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from recipelang import catalogue
from recipelang.errors import Refusal
from recipelang.images import decode, inspection, readers, scan
from recipelang.images.access import reading
from recipelang.images.decode import inspect, open_image
from recipelang.images.readers import FolderReader


def save(path: Path, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (9, 11, 3), dtype=np.uint8)).save(path)


def fill(root: Path, count: int = 6) -> None:
    for k in range(count):
        save(root / "cats" / f"{k}.png", k)
        save(root / "dogs" / f"{k}.png", 100 + k)


def opened(root: Path, **settings: Any) -> Any:
    method: Any = catalogue.find("data", "folder")
    return method("here", **({"size": 16, "batch": 4} | settings)).open(lambda _: root)


def refused(root: Path, **settings: Any) -> Refusal:
    with pytest.raises(Refusal) as caught:
        opened(root, **settings)
    return caught.value


def count(data: Any) -> int:
    return sum(data.size(split) for split in ("train", "val", "test"))


# what cannot be read ----------------------------------------------------------------------------------


def spoil(root: Path) -> tuple[str, ...]:
    """Damage files in different ways; only decoding finds the last one."""
    (root / "cats" / "bad1.png").write_bytes(b"")
    (root / "cats" / "bad2.jpg").write_bytes(b"no image at all")
    whole = (root / "cats" / "1.png").read_bytes()
    (root / "dogs" / "bad3.png").write_bytes(whole[: len(whole) // 2])
    (root / "dogs" / "bad4.png").write_bytes(whole[:60] + b"\xff" * 40 + whole[100:])
    return "cats/bad1.png", "cats/bad2.jpg", "dogs/bad3.png", "dogs/bad4.png"


def test_all_images_that_cannot_be_read_are_named_at_once(tmp_path: Path) -> None:
    fill(tmp_path)
    bad = spoil(tmp_path)
    refusal = refused(tmp_path)
    assert refusal.code == "RCP0805"
    assert refusal.message == (
        "3 of 16 images cannot be read: `cats/bad1.png`, `cats/bad2.jpg` (it is not an image); "
        "`dogs/bad3.png` (the file is cut off)"
    )
    assert all(name in refusal.message for name in bad[:3]) and "unreadable=skip" in refusal.help
    for k in range(20):
        (tmp_path / "cats" / f"z{k}.png").write_bytes(b"x")
    refusal = refused(tmp_path)
    assert (
        refusal.message.startswith("23 of 36 images") and "`cats/z1.png`, `cats/z10.png` and 17 more" in refusal.message
    )
    assert len(refusal.message) < 1000


@pytest.mark.parametrize("size", [16, 64])
def test_skip_leaves_them_out_counts_them_and_remembers(tmp_path: Path, size: int) -> None:
    fill(tmp_path)
    for name in spoil(tmp_path):
        assert (tmp_path / name).exists()
    data = opened(tmp_path, unreadable="skip", size=size)
    assert count(data) == 12
    assert data.notes == (
        "4 images left out because they cannot be read: "
        "`cats/bad1.png`, `cats/bad2.jpg`, `dogs/bad3.png`, `dogs/bad4.png`",
    )
    assert opened(tmp_path, unreadable="skip", size=size).notes == data.notes
    clean = tmp_path.parent / f"{tmp_path.name}-clean"
    fill(clean)
    assert opened(clean, size=size).fingerprint == data.fingerprint  # the same data set


def test_a_small_image_that_only_decoding_finds_is_named(tmp_path: Path) -> None:
    fill(tmp_path)
    spoil(tmp_path)
    for name in ("cats/bad1.png", "cats/bad2.jpg", "dogs/bad3.png"):
        (tmp_path / name).unlink()
    assert "dogs/bad4.png" in refused(tmp_path).message


def test_a_class_of_which_nothing_can_be_read_is_refused(tmp_path: Path) -> None:
    fill(tmp_path)
    (tmp_path / "mice").mkdir()
    (tmp_path / "mice" / "1.png").write_bytes(b"x")
    refusal = refused(tmp_path, unreadable="skip")
    assert refusal.code == "RCP0803" and "`mice`" in refusal.message


def test_what_is_known_of_a_file_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path)
    data = opened(tmp_path, size=64)
    read: list[str] = []

    def counted(path: Path, name: str) -> bytes:
        read.append(name)
        return decode.read_bytes(path, name)

    monkeypatch.setattr(readers, "read_bytes", counted)
    assert opened(tmp_path, size=64).fingerprint == data.fingerprint and read == []
    save(tmp_path / "cats" / "1.png", 77)
    os.utime(tmp_path / "cats" / "1.png", (time.time() + 5, time.time() + 5))
    assert opened(tmp_path, size=64).fingerprint != data.fingerprint and read == ["cats/1.png"]
    read.clear()
    path, status = tmp_path / "cats" / "1.png", (tmp_path / "cats" / "1.png").stat()
    path.write_bytes(path.read_bytes()[:-1] + b"?")  # as long, and with the old time
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    opened(tmp_path, size=64)
    assert read == ["cats/1.png"]
    read.clear()
    opened(tmp_path, size=64, unreadable="skip")  # looks closer, once
    assert len(read) == 12
    opened(tmp_path, size=64, unreadable="skip")
    opened(tmp_path, size=64)
    assert len(read) == 12


def test_many_files_say_how_far_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, 10)
    said: list[Any] = []

    class Progress:
        def start(self, what: str, total: int | None = None) -> None:
            said.append((what, total))

        def advance(self, parts: int = 1, note: str = "") -> None:
            said.append(parts)

        def stop(self) -> None:
            said.append("stop")

        def say(self, line: str) -> None: ...

    with reading(progress=Progress()):
        opened(tmp_path)
        assert said == []  # so few are read in a moment
        monkeypatch.setattr(inspection, "CHUNK", 8)
        again = opened(tmp_path)
    assert said[0][1] == 20 and sum(n for n in said if isinstance(n, int)) == 20 and said[-1] == "stop"
    assert again.fingerprint == opened(tmp_path).fingerprint


def test_of_several_frames_the_first_is_used_and_that_is_said(tmp_path: Path) -> None:
    fill(tmp_path)
    red, blue = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue")
    for name in ("cats/a.gif", "cats/b.tiff", "dogs/c.webp", "dogs/d.png"):
        options = {"lossless": True} if name.endswith("webp") else {}
        red.save(tmp_path / name, save_all=True, append_images=[blue], **options)
        pixels = np.asarray(open_image((tmp_path / name).read_bytes(), name))
        assert np.abs(pixels.astype(int) - [255, 0, 0]).max() <= 1
    assert opened(tmp_path).notes == ("4 images with several frames: the first is used",)


@pytest.mark.parametrize("size", [(1, 60_000_000), (70_000, 3)])
def test_an_image_that_is_thin_and_endless_is_refused_before_it_is_decoded(size: tuple[int, int]) -> None:
    width, height = size
    with pytest.raises(Refusal, match=rf"{width}×{height} pixels") as caught:
        inspect(b"P6 %d %d 255\n" % size + b"x" * 100, "thin.ppm")
    assert caught.value.code == "RCP0806"


def test_a_large_file_of_too_many_pixels_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "thin.ppm").open("wb") as file:
        file.write(b"P6 1 60000000 255\n")
        file.truncate(180_000_018)  # sparse
    monkeypatch.setattr(Path, "read_bytes", lambda self: pytest.fail("read"))
    with pytest.raises(Refusal, match="1×60000000 pixels") as caught:
        decode.read_bytes(tmp_path / "thin.ppm", "thin.ppm")
    assert caught.value.code == "RCP0806"


def test_what_is_not_a_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    for path in (tmp_path / "pipe.png", Path("/dev/zero"), tmp_path, tmp_path / "a\0b.png", tmp_path / "\ud800.png"):
        with pytest.raises(Refusal) as caught:
            decode.read_bytes(path, str(path))
        assert caught.value.code == "RCP0805" and caught.value.message.isprintable()


# links and depths -------------------------------------------------------------------------------------


def test_links_are_followed_where_the_machine_says_so(tmp_path: Path) -> None:
    root = tmp_path / "data"
    fill(root)
    fill(tmp_path / "elsewhere")
    (root / "mice").symlink_to(tmp_path / "elsewhere" / "cats")  # a class
    (root / "dogs" / "more").symlink_to(tmp_path / "elsewhere" / "dogs")  # inside a class
    save(tmp_path / "alone.png", 999)
    (root / "cats" / "alone.png").symlink_to(tmp_path / "alone.png")
    assert refused(root).code == "RCP0807" and "links: follow" in refused(root).help
    with reading(follow_links=True):
        data = opened(root)
    assert data.classes == ("cats", "dogs", "mice") and count(data) == 6 + 1 + 12 + 6


@pytest.mark.parametrize("target", ["..", ".", "../../data", "../dogs"])
def test_links_that_lead_back_are_refused(tmp_path: Path, target: str) -> None:
    root = tmp_path / "data"
    fill(root)
    (root / "dogs" / "again").symlink_to(target)
    with reading(follow_links=True):
        refusal = refused(root)
    assert refusal.code == "RCP0807" and "dogs/again" in refusal.message and "leads back" in refusal.message


def test_the_same_folder_twice_is_no_loop(tmp_path: Path) -> None:
    fill(tmp_path)
    (tmp_path / "cats" / "inner").mkdir()
    save(tmp_path / "cats" / "inner" / "x.png", 5)
    (tmp_path / "cats" / "same").symlink_to("inner")
    with reading(follow_links=True):
        assert count(opened(tmp_path)) == 14


def test_links_that_double_at_every_step_are_refused(tmp_path: Path) -> None:
    root, chain = tmp_path / "data", tmp_path / "chain"
    fill(root)
    for i in range(40):  # 2⁴⁰ ways to the last one
        (chain / str(i)).mkdir(parents=True)
        for name in ("left", "right"):
            (chain / str(i) / name).symlink_to(chain / str(i + 1))
    (root / "dogs" / "more").symlink_to(chain / "20")
    (chain / "40").mkdir()
    with reading(follow_links=True):
        assert "more than 100 times" in refused(root).message and refused(root).code == "RCP0807"


@pytest.fixture
def abyss(tmp_path: Path) -> Iterator[Path]:
    """A folder that may become so deep that only `rm` takes it away again; pytest's own clearing cannot."""
    yield tmp_path / "abyss"
    subprocess.run(["rm", "-rf", tmp_path / "abyss"], check=True)


def test_folders_in_folders_in_folders(abyss: Path) -> None:
    fill(abyss)
    deep = abyss / "cats"
    for _ in range(1_500):  # deeper than functions may call each other
        deep = deep / "d"
        os.mkdir(deep)
    save(deep / "x.png", 5)
    assert count(opened(abyss)) == 13


def test_folders_too_deep_for_a_path_are_refused(abyss: Path) -> None:
    fill(abyss)
    here = os.open(abyss / "cats", os.O_RDONLY)
    for _ in range(50):
        os.mkdir("n" * 200, dir_fd=here)
        inner = os.open("n" * 200, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)
    refusal = refused(abyss)
    assert refusal.code == "RCP0801" and "too long" in refusal.message and len(refusal.message) < 300


@pytest.mark.parametrize("name", ["a\0b", "~nobody-of-this-name/x", "\ud800", "x" * 300])
def test_names_that_are_no_folder_have_a_word(tmp_path: Path, name: str) -> None:
    refusal = refused(tmp_path / name)
    assert refusal.code == "RCP0801" and refusal.message.isprintable() and len(refusal.message) < 500


def test_an_image_that_has_been_taken_away_meanwhile(tmp_path: Path) -> None:
    fill(tmp_path)
    found = scan.scan_classes(tmp_path)
    (tmp_path / "cats" / "1.png").unlink()
    with pytest.raises(Refusal, match=r"cats/1.png") as caught:
        inspection.look_at(FolderReader(found.root), found.names)
    assert caught.value.code == "RCP0805"
