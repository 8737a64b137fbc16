"""Data sets of the library `datasets`, made by it: what is found, and what a sample is."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from recipelang.images.decode import prepare

datasets = pytest.importorskip("datasets", reason="datasets is not installed")

from tests.images.hub.made import CLASSES, Opens, images, refused, save, table, whole  # noqa: E402

ClassLabel, Value = datasets.ClassLabel, datasets.Value


@pytest.mark.parametrize("form", ["saved", "parquet", "imagefolder"])
def test_forms(opens: Opens, tmp_path: Path, form: str) -> None:
    """Images, classes and splits are those of the library, whichever way they are kept."""
    parts = {"train": table(30), "validation": table(9, 1), "test": table(6, 2)}
    save(tmp_path / "photos", form, **parts)
    data = opens()
    expected = ("bird", "cat", "dog") if form == "imagefolder" else CLASSES
    assert data.labels.names == expected
    for split, rows in zip(("train", "val", "test"), parts.values(), strict=True):
        inputs, names = whole(data, split)
        known = [(prepare(row["image"], data.preprocessing)[0], CLASSES[row["label"]]) for row in rows]
        if form == "imagefolder":
            known.sort(key=lambda one: one[1])  # the library lists class after class
        assert names == [name for _, name in known] and torch.equal(inputs, torch.stack([x for x, _ in known]))
    assert data.notes == ("`photos`: image from `image`, label from `label`",)
    assert opens().fingerprint == data.fingerprint != opens(batch=5).fingerprint


def test_the_fingerprint_goes_with_the_content_and_not_with_the_place(opens: Opens, tmp_path: Path) -> None:
    save(tmp_path / "photos", "saved", train=table())
    save(tmp_path / "moved", "parquet", train=table())
    save(tmp_path / "other", "saved", train=table(seed=5))
    swapped = table(labels=[(k + 1) % 3 for k in range(30)])
    save(tmp_path / "swapped", "saved", train=swapped)
    assert opens().fingerprint == opens("moved").fingerprint
    assert len({opens(name).fingerprint for name in ("photos", "other", "swapped")}) == 3


def test_the_second_opening_reads_no_image(opens: Opens, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "photos", "saved", train=table())
    first = opens(size=64)
    monkeypatch.setattr("recipelang.images.hub_rows.RowReader.read", None)
    assert opens(size=64).fingerprint == first.fingerprint


@pytest.mark.parametrize("form", ["file", "single", "folder"])
def test_what_is_one_table_is_divided(opens: Opens, tmp_path: Path, form: str) -> None:
    rows = table(40)
    if form == "file":
        rows.to_parquet(tmp_path / "photos.parquet")
    elif form == "single":
        rows.save_to_disk(tmp_path / "photos")
    else:
        save(tmp_path / "photos", "parquet", train=rows)
    where = "photos.parquet" if form == "file" else "photos"
    data = opens(where)
    sizes = [data.size(split) for split in ("train", "val", "test")]
    assert sum(sizes) == 40 and min(sizes) >= 3
    digests = {split: {x.numpy().tobytes() for x in whole(data, split)[0]} for split in ("train", "val", "test")}
    assert sum(map(len, digests.values())) == len(set().union(*digests.values())) == 40
    assert opens(where, seed=1).fingerprint != data.fingerprint == opens(where).fingerprint


def test_what_is_missing_is_cut_and_what_has_no_labels_is_not_used(opens: Opens, tmp_path: Path) -> None:
    parts = {"train": table(40), "test": table(6, 1, labels=[-1] * 6), "extra": table(6, 2)}
    save(tmp_path / "photos", "saved", **parts)
    data = opens()
    assert sum(data.size(split) for split in ("train", "val", "test")) == 40
    assert data.notes[1:] == (
        "not used: the split `extra`",
        "not used: the split `test`, which has no labels; `test` is cut from `train`",
    )
    named = opens(test="extra")
    assert (named.size("test"), named.size("train") + named.size("val")) == (6, 40)
    assert "test[0], test[1], test[2], test[3], test[4] and 1 more: no `label`" in refused(opens, test="test").message


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16", "RGB"])
def test_images_of_any_mode_and_size(opens: Opens, tmp_path: Path, mode: str) -> None:
    draws = np.random.default_rng(0)
    some = []
    for k in range(12):
        grey = draws.integers(0, 256, (10 + k, 30 - k), dtype=np.uint8)
        deep = Image.fromarray(grey.astype(np.uint16) * 257)
        some.append(deep if mode == "I;16" else Image.fromarray(grey).convert("RGB").convert(mode))
    kinds = datasets.Features({"picture": datasets.Image(), "label": Value("string")})
    columns = {"picture": some, "label": [("a", "b")[k % 2] for k in range(12)]}
    datasets.Dataset.from_dict(columns, features=kinds).save_to_disk(tmp_path / "photos")
    data = opens(split=[0.5, 0.25, 0.25])
    assert data.input_shape == (3, 16, 16) and data.labels.names == ("a", "b")
    shown = {x.numpy().tobytes() for split in ("train", "val", "test") for x in whole(data, split)[0]}
    assert shown == {prepare(image, data.preprocessing)[0].numpy().tobytes() for image in some}


@pytest.mark.parametrize(
    ("kind", "labels", "classes"),
    [
        (Value("int32"), (10, 9, 2), ("2", "9", "10")),
        (Value("string"), ("10", "9", "2"), ("2", "9", "10")),
        (Value("string"), ("oak", "ash", "fir"), ("ash", "fir", "oak")),
        (Value("bool"), (True, False, True), ("False", "True")),
        (Value("float64"), (1.0, 0.0, 1.0), ("0", "1")),
    ],
)
def test_classes_of_other_columns(
    opens: Opens, tmp_path: Path, kind: Any, labels: Sequence[Any], classes: tuple[str, ...]
) -> None:
    rows = [labels[k % 3] for k in range(30)]
    save(tmp_path / "photos", "saved", train=table(label=kind, labels=rows))
    data = opens(label="label")
    assert data.labels.names == classes
    known = {prepare(image, data.preprocessing)[0].numpy().tobytes(): str(row) for image, row in zip(images(30), rows, strict=True)}  # fmt: skip # noqa: E501
    for split in ("train", "val", "test"):
        for x, name in zip(*whole(data, split), strict=True):
            assert name == known[x.numpy().tobytes()].removesuffix(".0")


def test_bytes_without_a_type_are_images(opens: Opens, tmp_path: Path) -> None:
    """As others than the library write images into Parquet files."""
    import pyarrow
    import pyarrow.parquet

    files = []
    for image in images(20):
        image.save(file := io.BytesIO(), "PNG")
        files.append({"bytes": file.getvalue(), "path": "x.png"})
    columns = {"img": files, "target": [k % 2 for k in range(20)]}
    pyarrow.parquet.write_table(pyarrow.table(columns), tmp_path / "photos.parquet")
    assert opens("photos.parquet").notes[0] == "`photos.parquet`: image from `img`, label from `target`"


def test_an_id_is_found_where_it_was_downloaded(opens: Opens, tmp_path: Path, home: Path) -> None:
    refusal = refused(opens, "ours/photos")
    assert refusal.code == "RCP0858" and "`hf download --repo-type dataset ours/photos`" in refusal.help
    assert str(home / "hub") in refusal.help and str(home / "datasets") in refusal.help
    root = home / "hub" / "datasets--ours--photos"
    (root / "snapshots").mkdir(parents=True)
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text("abc123")
    save(root / "snapshots" / "abc123", "parquet", train=table(), test=table(6, 1))
    downloaded = opens("ours/photos")
    assert (downloaded.size("test"), downloaded.labels.names) == (6, CLASSES)
    assert "`ours/photos`: image" in downloaded.notes[0]
    assert refused(opens, "ours/photos", revision="v2").help.startswith(
        "`hf download --repo-type dataset ours/photos --revision v2`"
    )


def test_an_id_is_found_where_load_dataset_left_it(opens: Opens, tmp_path: Path, home: Path) -> None:
    save(tmp_path / "source", "parquet", train=table(), test=table(6, 1))
    builder = datasets.load_dataset_builder(str(tmp_path / "source"), cache_dir=str(tmp_path / "prepared"))
    builder.download_and_prepare()
    version = Path(builder.cache_dir)
    there = home / "datasets" / "ours___my_photos" / version.parent.parent.name / version.parent.name / version.name
    there.parent.mkdir(parents=True)
    version.rename(there)
    for file in there.iterdir():
        file.rename(there / file.name.replace("source-", "my_photos-"))
    data = opens("ours/MyPhotos")
    assert (data.size("test"), data.labels.names) == (6, CLASSES)
