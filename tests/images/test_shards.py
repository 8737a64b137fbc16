"""Shards of WebDataset, written by its own writer: which samples there are, how they are divided, what is refused."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from recipelang.catalogue import find
from recipelang.errors import Refusal
from recipelang.images.decode import prepare

webdataset = pytest.importorskip("webdataset", reason="webdataset is not installed")

Opens = Callable[..., Any]


@pytest.fixture
def opens(tmp_path: Path) -> Opens:
    def made(train: str = "train-{000..002}.tar", **settings: Any) -> Any:
        return find("data", "webdataset")(train, **{"size": 16, "batch": 4, **settings}).open(
            lambda name: tmp_path / name
        )  # type: ignore[misc]

    return made


def refused(opens: Opens, *args: str, **settings: Any) -> Refusal:
    with pytest.raises(Refusal) as caught:
        opens(*args, **settings)
    assert caught.value.help and caught.value.message.isprintable()
    return caught.value


def image(seed: int, form: str = "PNG") -> bytes:
    draws = np.random.default_rng(seed)
    Image.fromarray(draws.integers(0, 256, (20, 18, 3), dtype=np.uint8)).save(file := io.BytesIO(), form)
    return file.getvalue()


def samples(first: int, count: int, classes: int = 3) -> list[dict[str, Any]]:
    """Samples as the library takes them."""
    return [{"__key__": f"{k:04d}", "png": image(k), "cls": str(k % classes)} for k in range(first, first + count)]


def write(path: Path, some: Sequence[Mapping[str, Any]]) -> None:
    with webdataset.TarWriter(str(path), encoder=False) as file:
        for one in some:
            file.write({key: value if key == "__key__" or isinstance(value, bytes) else value.encode() for key, value in one.items()})  # fmt: skip # noqa: E501


def shards(folder: Path, name: str = "train", count: int = 3, each: int = 12, first: int = 0) -> None:
    for k in range(count):
        write(folder / f"{name}-{k:03d}.tar", samples(first + each * k, each))


def whole(data: Any, split: str, **how: Any) -> list[tuple[bytes, str]]:
    """Input and class of each sample."""
    found = []
    for inputs, targets in data.batches(split, **how):
        found += [(x.numpy().tobytes(), data.labels.names[k]) for x, k in zip(inputs, targets.tolist(), strict=True)]
    return found


def library(files: Sequence[Path], data: Any) -> list[tuple[bytes, str]]:
    """What the library reads, in its order, as the network would see it."""
    found = []
    for path in files:
        with path.open("rb") as file:
            members = webdataset.tariterators.tar_file_expander([{"url": str(path), "stream": file}])
            found += list(webdataset.tariterators.group_by_keys(members))
    images = [prepare(Image.open(io.BytesIO(one["png"])), data.preprocessing)[0] for one in found]
    return [(x.numpy().tobytes(), one["cls"].decode()) for x, one in zip(images, found, strict=True)]


def test_samples_are_those_of_the_library(opens: Opens, tmp_path: Path) -> None:
    for name, count, first in (("train", 3, 0), ("val", 1, 100), ("test", 2, 200)):
        shards(tmp_path, name, count, first=first)
    data = opens(val="val-000.tar", test="test-{000..001}.tar")
    for split in ("train", "val", "test"):
        assert whole(data, split) == library(sorted(tmp_path.glob(f"{split}-*.tar")), data)
    assert data.labels.names == ("0", "1", "2") and data.notes == ("label from `cls`",)


@pytest.mark.parametrize("pattern", ["train-*.tar", ".", "train-000.tar::train-{001..002}.tar", "train-00{0,1,2}.tar"])
def test_patterns(opens: Opens, tmp_path: Path, pattern: str) -> None:
    shards(tmp_path)
    assert opens(pattern).fingerprint == opens().fingerprint
    assert whole(opens(pattern), "test") == whole(opens(), "test")


def test_what_is_missing_is_cut_without_leaks(opens: Opens, tmp_path: Path) -> None:
    shards(tmp_path)
    write(tmp_path / "train-002.tar", [*samples(24, 12), *({**one, "__key__": f"copy{one['__key__']}"} for one in samples(0, 6))])  # fmt: skip # noqa: E501
    data = opens()
    parts = {split: {x for x, _ in whole(data, split)} for split in ("train", "val", "test")}
    assert sum(data.size(split) for split in parts) == 42 and sum(map(len, parts.values())) == 36
    assert len(set().union(*parts.values())) == 36 and min(map(len, parts.values())) >= 3
    shards(tmp_path, "val", 1, first=100)
    assert opens(val="val-000.tar").size("val") == 12 and opens(val="val-000.tar").size("test") >= 3
    assert len({data.fingerprint, opens(seed=1).fingerprint, opens(val="val-000.tar").fingerprint}) == 3


def test_the_fingerprint_goes_with_the_content(opens: Opens, tmp_path: Path) -> None:
    shards(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    for file in tmp_path.glob("*.tar"):
        (tmp_path / "elsewhere" / file.name).write_bytes(file.read_bytes())
    first = opens()
    assert opens("elsewhere/train-{000..002}.tar").fingerprint == first.fingerprint
    write(tmp_path / "train-001.tar", [*samples(12, 11), {**samples(99, 1)[0], "__key__": "0023"}])
    assert opens().fingerprint != first.fingerprint


@pytest.mark.parametrize("size", [16, 64])
def test_epochs_are_seeded_and_go_on_with_any_number_of_threads(
    opens: Opens, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    shards(tmp_path)
    data = opens(size=size)
    first = whole(data, "train", epoch=1, seed=3)
    for cores in (1, 2, 7):
        monkeypatch.setattr(os, "cpu_count", lambda cores=cores: cores)
        again = opens(size=size)
        assert whole(again, "train", epoch=1, seed=3) == first
        assert whole(again, "train", epoch=1, seed=3, start=2) == first[8:]
    assert whole(data, "train", epoch=2, seed=3) != first


def test_the_index_is_made_once(opens: Opens, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shards(tmp_path)
    first = opens(size=64)
    monkeypatch.setattr("recipelang.images.shards._indexed", None)
    monkeypatch.setattr("recipelang.images.shard_sets.ShardReader.read", None)
    assert opens(size=64).fingerprint == first.fingerprint
    monkeypatch.undo()
    write(tmp_path / "train-000.tar", samples(300, 12))
    assert opens(size=64).fingerprint != first.fingerprint


def labelled(**more: Any) -> list[dict[str, Any]]:
    """Samples with other labels than `cls`: extension → what it holds, by the number of the sample."""
    return [{"__key__": f"{k:04d}", "png": image(k), **{ext: make(k) for ext, make in more.items()}} for k in range(24)]


@pytest.mark.parametrize(
    ("make", "label", "classes"),
    [
        (lambda k: json.dumps({"label": k % 2, "id": k}), "", ("0", "1")),
        (lambda k: json.dumps({"species": ("oak", "ash")[k % 2], "label": k}), "json.species", ("ash", "oak")),
        (lambda k: json.dumps({"label": (10, 9)[k % 2]}), "json.label", ("9", "10")),
    ],
)
def test_labels_of_json(opens: Opens, tmp_path: Path, make: Any, label: str, classes: tuple[str, ...]) -> None:
    write(tmp_path / "one.tar", labelled(json=make))
    data = opens("one.tar", label=label)
    assert data.labels.names == classes and bool(data.notes) == (not label)
    field = (label or "json.label").partition(".")[2]
    known = {}
    for k in range(24):
        shown = prepare(Image.open(io.BytesIO(image(k))), data.preprocessing)[0]
        known[shown.numpy().tobytes()] = str(json.loads(make(k))[field])
    found = [one for split in ("train", "val", "test") for one in whole(data, split)]
    assert len(found) == 24 and all(known[x] == name for x, name in found)


def test_other_members(opens: Opens, tmp_path: Path) -> None:
    """Text labels, images of several extensions and in folders, members that are none of both, and pickles unread."""
    some = [
        {"__key__": f"a/{k:04d}", ("jpg", "png")[k % 2]: image(k, ("JPEG", "PNG")[k % 2]), "txt": ("b", "a")[k % 2],
         "pyd": b"cos\nsystem\n(S'false'\ntR."}
        for k in range(24)
    ]  # fmt: skip
    write(tmp_path / "one.tar", some)
    data = opens("one.tar", label="txt")
    assert data.labels.names == ("a", "b") and sum(data.size(split) for split in ("train", "val", "test")) == 24
    two = [{"__key__": f"{k:04d}", "image.png": image(k), "mask.png": image(-k % 99), "cls": str(k % 2)} for k in range(24)]  # fmt: skip # noqa: E501
    write(tmp_path / "two.tar", two)
    assert "has 2 images: `image.png`, `mask.png`" in refused(opens, "two.tar").message
    assert opens("two.tar", image="image.png").size("train") > 0
    assert opens("one.tar", label="txt", image="png;jpg").fingerprint == data.fingerprint


def test_a_damaged_image_is_named_by_shard_and_key(opens: Opens, tmp_path: Path) -> None:
    shards(tmp_path)
    some = samples(12, 12)
    some[5]["png"] = some[5]["png"][:80]
    write(tmp_path / "train-001.tar", some)
    refusal = refused(opens)
    assert refusal.code == "RCP0805"
    assert "the image `train-001.tar 0017` cannot be read: the file is cut off" in refusal.message
    data = opens(unreadable="skip")
    assert "1 image left out because they cannot be read: `train-001.tar 0017`" in data.notes
    assert sum(data.size(split) for split in ("train", "val", "test")) == 35


def test_a_shard_that_changes_while_it_is_read(opens: Opens, tmp_path: Path) -> None:
    shards(tmp_path)
    data = opens(size=64)
    file = tmp_path / "train-002.tar"
    file.write_bytes(file.read_bytes()[:600])
    with pytest.raises(Refusal) as caught:
        list(data.batches("train"))
    assert caught.value.code == "RCP0805" and "the shard is cut off" in caught.value.message


def tar(path: Path, *members: tuple[str, bytes], packed: str = "") -> None:
    with tarfile.open(path, f"w:{packed}") as file:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))


def wrong(folder: Path, case: str) -> None:
    """Damage the second of three shards."""
    shards(folder)
    file = folder / "train-001.tar"
    if case == "missing":
        file.unlink()
    if case in ("cut off", "no end", "in the padding", "in a header"):
        whole_file = file.read_bytes()
        with tarfile.open(file) as archive:
            member = archive.getmembers()[7]
        ends = {"cut off": member.offset_data + 3, "no end": member.offset, "in a header": member.offset + 100}
        file.write_bytes(whole_file[: ends.get(case, member.offset_data + member.size + 1)])
    if case == "packed":
        tar(file, ("1.png", image(1)), ("1.cls", b"1"), packed="gz")
    if case == "nothing":
        file.write_bytes(b"")
    if case == "no tar":
        file.write_bytes(b"not a tar file" * 100)
    if case == "no samples":
        tar(file)
    if case == "apart":
        tar(file, *((f"{k}.png", image(k)) for k in range(3)), *((f"{k}.cls", b"1") for k in range(3)))
    if case == "no label":
        tar(file, ("1.png", image(1)), ("1.cls", b"1"), ("2.png", image(2)))
    if case == "no image":
        tar(file, ("1.cls", b"1"), ("1.npy", b"x"))
    if case == "twice":
        tar(file, *(member for key in "121" for member in ((f"{key}.png", image(1)), (f"{key}.cls", b"1"))))
    if case == "two members":
        tar(file, ("1.png", image(1)), ("1.cls", b"1"), ("1.PNG", image(2)))
    if case == "bytes":
        tar(file, ("1.png", image(1)), ("1.cls", b"\xff\xfe\xfa"))
    if case == "empty label":
        tar(file, ("1.png", image(1)), ("1.cls", b" \n"))
    if case == "mixed":
        tar(file, ("1.png", image(1)), ("1.cls", b"cat"))


@pytest.mark.parametrize(
    ("case", "code", "words"),
    [
        ("missing", "RCP0862", "1 of the 3 shards are missing: `train-001.tar`"),
        ("cut off", "RCP0863", "the shard `train-001.tar` is cut off within `0015."),
        ("no end", "RCP0863", "has no mark of its end"),
        ("in the padding", "RCP0863", "cannot be read as a tar file: unexpected end of data"),
        ("in a header", "RCP0863", "has no mark of its end"),
        ("packed", "RCP0863", "is compressed (gzip)"),
        ("nothing", "RCP0863", "cannot be read as a tar file"),
        ("no tar", "RCP0863", "cannot be read as a tar file"),
        ("no samples", "RCP0863", "holds no sample"),
        ("apart", "RCP0864", "the sample `0` of `train-001.tar` has no label `cls`"),
        ("no label", "RCP0864", "the sample `2` of `train-001.tar` has no label `cls`"),
        ("no image", "RCP0864", "the sample `1` of `train-001.tar` has no image"),
        ("twice", "RCP0864", "the sample `1` of `train-001.tar` is there twice"),
        ("two members", "RCP0864", "the sample `1` of `train-001.tar` has two members `1.PNG`"),
        ("bytes", "RCP0864", "has a label `cls` that is not text"),
        ("empty label", "RCP0864", "has an empty label `cls`"),
        ("mixed", "RCP0854", "`train-001.tar 1`: the labels `cat` are text, the others numbers"),
    ],
)
def test_shards_that_are_refused(opens: Opens, tmp_path: Path, case: str, code: str, words: str) -> None:
    wrong(tmp_path, case)
    refusal = refused(opens)
    assert (refusal.code, words in refusal.message) == (code, True), refusal.message


@pytest.mark.parametrize(
    ("train", "settings", "code", "words"),
    [
        ("https://host/train-{000..002}.tar", {}, "RCP0862", "it is an address or a command"),
        ("pipe:touch ran", {}, "RCP0862", "it is an address or a command"),
        ("train-{000..002.tar", {}, "RCP0862", "it is not a pattern"),
        ("train-{0..9999999999}.tar", {}, "RCP0862", "more than 100,000 shards"),
        ("none-*.tar", {}, "RCP0862", "no file is named like this"),
        ("empty", {}, "RCP0862", "the folder holds no `.tar` file"),
        ("train-000.tar", {"val": "train-{000..001}.tar"}, "RCP0862", "`train-000.tar` is in `train` and in `val`"),
        ("train-000.tar::train-000.tar", {}, "RCP0862", "names `train-000.tar` twice"),
        ("train-000.tar", {"label": "txt"}, "RCP0853", "has no member `txt`"),
        ("train-000.tar", {"image": "jpg"}, "RCP0864", "has no `jpg`"),
        ("json.tar", {}, "RCP0853", "have 2 fields that may be the label: `json.label`, `json.class`"),
        ("json.tar", {"label": "json.boxes"}, "RCP0864", "has a list as `json.boxes`"),
        ("json.tar", {"label": "json.none"}, "RCP0864", "has no `json.none`"),
        ("bad.tar", {"label": "json.a"}, "RCP0864", "has a `json` that is not JSON"),
        ("bare.tar", {}, "RCP0853", "have no `cls`, which holds a label"),
    ],
)
def test_patterns_and_settings_that_are_refused(
    opens: Opens, tmp_path: Path, train: str, settings: dict[str, Any], code: str, words: str
) -> None:
    shards(tmp_path, count=2)
    (tmp_path / "empty").mkdir()
    write(tmp_path / "json.tar", labelled(json=lambda k: json.dumps({"label": k % 2, "class": k % 3, "boxes": [k]})))
    write(tmp_path / "bad.tar", labelled(json=lambda k: "{"))
    write(tmp_path / "bare.tar", labelled())
    refusal = refused(opens, train, **settings)
    assert (refusal.code, words in refusal.message) == (code, True), refusal.message
    assert not (tmp_path / "ran").exists() and not Path("ran").exists()


def test_without_the_library(opens: Opens, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recipelang.extras.absent", lambda names: [name for name in names if name == "webdataset"])
    refusal = refused(opens)
    assert refusal.code == "RCP1027" and "recipelang[webdataset]" in refusal.help


def test_inputs_are_normalised_as_those_of_a_folder(opens: Opens, tmp_path: Path) -> None:
    shards(tmp_path)
    for one in samples(0, 36):
        file = tmp_path / "folder" / one["cls"] / f"{one['__key__']}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(one["png"])
    folder: Any = find("data", "folder")
    ours, theirs = opens(), folder("folder", size=16, batch=4).open(lambda name: tmp_path / name)
    for split in ("train", "val", "test"):
        assert sorted(whole(ours, split)) == sorted(whole(theirs, split))
