"""Folders of images, as people have them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from recipelang import catalogue
from recipelang.errors import Refusal, SettingError

Make = Callable[..., None]


def save(path: Path, seed: int, size: tuple[int, int] = (20, 16)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    Image.fromarray(random.integers(0, 256, (*size, 3), dtype=np.uint8)).save(path)


def fill(root: Path, classes: dict[str, int], first: int = 0) -> None:
    for name, count in classes.items():
        for i in range(count):
            save(root / name / f"{i}.png", first := first + 1)


def opened(root: Path, **settings: Any) -> Any:
    folder: Any = catalogue.find("data", "folder")
    return folder("here", **({"size": 16, "batch": 4} | settings)).open(lambda _: root)


def refused(root: Path, **settings: Any) -> Refusal:
    with pytest.raises(Refusal) as caught:
        opened(root, **settings)
    assert caught.value.help
    return caught.value


def test_class_folders_are_divided(tmp_path: Path) -> None:
    fill(tmp_path, {"cats": 20, "dogs": 30})
    data = opened(tmp_path)
    assert data.classes == ("cats", "dogs")
    assert [data.size(s) for s in ("train", "val", "test")] == [40, 5, 5]
    assert data.input_shape == (3, 16, 16)
    images, labels = next(iter(data.batches("val", batch=50)))
    assert tuple(images.shape) == (5, 3, 16, 16)
    assert sorted(labels.tolist()) == [0, 0, 1, 1, 1]


def test_large_images_are_read_from_the_files(tmp_path: Path) -> None:
    fill(tmp_path, {"cats": 6, "dogs": 6})
    data = opened(tmp_path, size=64)
    assert data.preprocessing.resize == 73
    one = [x for x, _ in data.batches("train", epoch=3, seed=1)]
    two = [x for x, _ in data.batches("train", epoch=3, seed=1)]
    other = [x for x, _ in data.batches("train", epoch=4, seed=1)]
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_folders_of_splits_stand_as_they_are(tmp_path: Path) -> None:
    fill(tmp_path / "train", {"cats": 20, "dogs": 20})
    fill(tmp_path / "test", {"cats": 3, "dogs": 4}, 1000)
    data = opened(tmp_path)
    assert [data.size(s) for s in ("train", "val", "test")] == [36, 4, 7]
    fill(tmp_path / "Validation", {"cats": 2, "dogs": 1}, 2000)
    assert [opened(tmp_path).size(s) for s in ("train", "val", "test")] == [40, 3, 7]


def test_copies_across_given_splits_are_told(tmp_path: Path) -> None:
    fill(tmp_path / "train", {"cats": 10, "dogs": 10})
    fill(tmp_path / "test", {"cats": 10})  # the same files
    fill(tmp_path / "test", {"dogs": 3}, 1000)
    assert any("10 of the 13 images of `test` are also in `train`" in n for n in opened(tmp_path).notes)


def test_copies_never_stand_on_both_sides(tmp_path: Path) -> None:
    fill(tmp_path, {"cats": 10, "dogs": 10})
    for i in range(10):
        (tmp_path / "cats" / f"copy{i}.png").write_bytes((tmp_path / "cats" / f"{i}.png").read_bytes())
    data = opened(tmp_path)
    seen = [{x.numpy().tobytes() for b, _ in data.batches(s) for x in b} for s in ("train", "val", "test")]
    assert not (seen[0] & seen[1] | seen[0] & seen[2] | seen[1] & seen[2])


def test_names_and_order_of_the_disk_do_not_matter_to_the_division(tmp_path: Path) -> None:
    fill(tmp_path / "a", {"cats": 12, "dogs": 12})
    for i, path in enumerate(sorted((tmp_path / "a").glob("*/*.png"))):
        new = tmp_path / "b" / path.parent.name / f"{(i * 7) % 24:02}.png"
        new.parent.mkdir(parents=True, exist_ok=True)
        new.write_bytes(path.read_bytes())

    def images_of(root: Path) -> set[bytes]:
        return {x.numpy().tobytes() for b, _ in opened(root).batches("test") for x in b}

    assert images_of(tmp_path / "a") == images_of(tmp_path / "b")


def test_the_fingerprint_is_of_contents_and_settings(tmp_path: Path) -> None:
    fill(tmp_path, {"cats": 5, "dogs": 5})
    first = opened(tmp_path).fingerprint
    assert opened(tmp_path).fingerprint == first
    others = [opened(tmp_path, **s).fingerprint for s in ({"seed": 1}, {"augment": "none"}, {"size": 24}, {"batch": 5})]
    (tmp_path / "cats" / "0.png").rename(tmp_path / "cats" / "zero.png")
    others.append(opened(tmp_path).fingerprint)
    save(tmp_path / "dogs" / "1.png", 99)
    others.append(opened(tmp_path).fingerprint)
    assert len({first, *others}) == 7


def test_a_changed_file_is_decoded_anew(tmp_path: Path) -> None:
    fill(tmp_path, {"cats": 4, "dogs": 4})
    before = torch.cat([x for x, _ in opened(tmp_path).batches("train")])
    for path in tmp_path.glob("*/*.png"):
        save(path, hash(path.name) % 1000 + 5000)
    assert not torch.equal(before, torch.cat([x for x, _ in opened(tmp_path).batches("train")]))


def test_other_files_are_passed_over_and_counted(tmp_path: Path) -> None:
    fill(tmp_path, {"cats": 4, "dogs": 4})
    (tmp_path / "cats" / "notes.txt").write_text("x")
    (tmp_path / "README.md").write_text("x")
    (tmp_path / "cats" / ".DS_Store").write_text("x")
    (tmp_path / "cats" / "Thumbs.db").write_text("x")
    assert opened(tmp_path).notes == ("2 files skipped: not images",)


def test_folders_inside_a_class_are_looked_through(tmp_path: Path) -> None:
    fill(tmp_path, {"cats": 3, "cats/more": 3, "dogs": 6})
    data = opened(tmp_path)
    assert sum(data.size(s) for s in ("train", "val", "test")) == 12


def test_missing_folder_and_file_for_a_folder(tmp_path: Path) -> None:
    assert refused(tmp_path / "none").code == "RCP0801"
    (tmp_path / "file").write_text("x")
    assert "is not a folder" in refused(tmp_path / "file").message


def test_empty_folder(tmp_path: Path) -> None:
    assert refused(tmp_path).code == "RCP0803"


def test_class_without_images(tmp_path: Path) -> None:
    fill(tmp_path, {"cats": 4, "dogs": 4})
    (tmp_path / "mice").mkdir()
    refusal = refused(tmp_path)
    assert (refusal.code, "`mice`" in refusal.message) == ("RCP0803", True)


def test_images_without_labels(tmp_path: Path) -> None:
    save(tmp_path / "1.png", 1)
    assert refused(tmp_path).code == "RCP0802"


def test_one_class_only(tmp_path: Path) -> None:
    fill(tmp_path, {"cats": 4})
    assert refused(tmp_path).code == "RCP0804"


def test_corrupt_image_is_named(tmp_path: Path) -> None:
    fill(tmp_path, {"cats": 4, "dogs": 4})
    whole = (tmp_path / "dogs" / "2.png").read_bytes()
    for damaged in (b"", b"no image", whole[: len(whole) // 2]):
        (tmp_path / "dogs" / "2.png").write_bytes(damaged)
        refusal = refused(tmp_path, size=128)
        assert (refusal.code, "dogs/2.png" in refusal.message) == ("RCP0805", True)


def test_an_image_that_turns_bad_later_is_named_too(tmp_path: Path) -> None:
    fill(tmp_path, {"cats": 4, "dogs": 4})
    data = opened(tmp_path, size=128)
    for path in tmp_path.glob("*/*.png"):
        path.write_bytes(b"gone")
    with pytest.raises(Refusal) as caught:
        list(data.batches("train", epoch=0))
    assert caught.value.code == "RCP0805"


def test_links_out_of_the_folder_are_refused(tmp_path: Path) -> None:
    root = tmp_path / "data"
    fill(root, {"cats": 4, "dogs": 4})
    save(tmp_path / "private.png", 77)
    link = root / "cats" / "link.png"
    link.symlink_to(tmp_path / "private.png")
    assert refused(root).code == "RCP0807"
    link.unlink()
    (root / "mice").symlink_to(root / "cats")
    assert refused(root).code == "RCP0807"
    (root / "mice").unlink()
    (root / "dogs" / "same.png").symlink_to(root / "dogs" / "1.png")
    assert opened(root).classes == ("cats", "dogs")


def test_hostile_names_are_harmless(tmp_path: Path) -> None:
    fill(tmp_path, {"<script>alert(1)<": 4, "a..;rm -rf": 4, '"quoted" & `ticked`': 4})
    assert len(opened(tmp_path).classes) == 3
    fill(tmp_path, {"a\x1b[31mb": 4})
    refusal = refused(tmp_path)
    assert refusal.code == "RCP0802"
    assert refusal.message.isprintable()


def test_names_that_are_no_text_are_harmless(tmp_path: Path) -> None:
    fill(tmp_path, {"cats": 4, "dogs": 4})
    try:
        os.rename(tmp_path / "cats" / "0.png", os.path.join(os.fsencode(tmp_path), b"cats", b"\xff\xfe.png"))
    except OSError:
        pytest.skip("this file system wants names to be text")
    assert opened(tmp_path).size("train") > 0


def test_a_class_that_training_does_not_know(tmp_path: Path) -> None:
    fill(tmp_path / "train", {"cats": 10, "dogs": 10})
    fill(tmp_path / "test", {"cat": 3, "dogs": 3})
    refusal = refused(tmp_path)
    assert (refusal.code, "`cat`" in refusal.message) == ("RCP0810", True)


def test_splits_whose_folders_are_written_otherwise(tmp_path: Path) -> None:
    fill(tmp_path / "train", {"Café": 10, "dogs": 10})
    fill(tmp_path / "test", {"DOGS": 4, "cafe\u0301": 3})
    data = opened(tmp_path)
    assert data.classes == ("Café", "dogs")
    assert sorted(torch.cat([labels for _, labels in data.batches("test")]).tolist()) == [0] * 3 + [1] * 4


def test_class_folders_that_look_alike_are_two_classes_and_that_is_said(tmp_path: Path) -> None:
    fill(tmp_path, {"Cat": 4, "cat": 4, "dogs": 4})
    data = opened(tmp_path)
    assert len(data.classes) == 3
    assert data.notes == ("the class folders `Cat` and `cat` look alike and are two classes",)


def test_a_split_without_a_share_is_refused_when_read(tmp_path: Path) -> None:
    fill(tmp_path, {"cats": 4, "dogs": 4})
    data = opened(tmp_path, split=(0.5, 0.5, 0.0))
    with pytest.raises(Refusal) as caught:
        data.size("test")
    assert caught.value.code == "RCP0818"


@pytest.mark.parametrize("split", [(0.8, 0.2), (0.8, 0.3, 0.1), (-0.1, 1.0, 0.1), (0.0, 0.5, 0.5)])
def test_impossible_shares(split: tuple[float, ...]) -> None:
    folder: Any = catalogue.find("data", "folder")
    with pytest.raises(SettingError) as caught:
        folder("x", split=split)
    assert caught.value.field == "split"


def test_a_read_only_cache_costs_time_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path / "data", {"cats": 4, "dogs": 4})
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("RECIPELANG_CACHE", str(tmp_path / "file"))  # nothing can be written below a file
    assert opened(tmp_path / "data").size("train") > 0


def test_a_torn_cache_is_noticed(tmp_path: Path, cache: Path) -> None:
    fill(tmp_path, {"cats": 4, "dogs": 4})
    before = torch.cat([x for x, _ in opened(tmp_path).batches("train")])
    files = [p for p in cache.rglob("*") if p.is_file()]
    assert len(files) == 4  # three arrays and the digests
    for path in files:
        path.write_bytes(path.read_bytes()[:-5])
    assert torch.equal(before, torch.cat([x for x, _ in opened(tmp_path).batches("train")]))
