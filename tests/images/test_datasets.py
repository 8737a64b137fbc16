"""The data sets of the catalogue keep the promises of `kinds.Dataset`."""

from __future__ import annotations

import itertools
import os
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from recipelang import catalogue
from recipelang.errors import Refusal
from recipelang.images.cifar import CLASSES

COUNT = 40  # images per batch file of the small CIFAR


def python_2_batch(rows: np.ndarray, labels: list[int], extra: bytes = b"") -> bytes:
    """A batch as the published files have it: pickled by Python 2, byte strings and all."""
    text = lambda s: b"U" + bytes([len(s)]) + s  # noqa: E731
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01btR"
        + b"(K\x01M"
        + len(rows).to_bytes(2, "little")
        + b"M\x00\x0c\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R"
        + b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
        + b"T"
        + rows.size.to_bytes(4, "little")
        + rows.tobytes()
        + b"tb"
    )
    listed = b"](" + b"".join(b"K" + bytes([n]) for n in labels) + b"e"
    names = text(b"filenames") + b"](" + b"".join(text(b"x.png") for _ in labels) + b"e"
    return b"\x80\x02}(" + text(b"data") + array + text(b"labels") + listed + names + b"u" + extra + b"."


def small_cifar(root: Path, form: str) -> None:
    """A CIFAR-10 of 40 images per file."""
    random = np.random.default_rng(0)
    root.mkdir(parents=True, exist_ok=True)
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        rows = random.integers(0, 256, (COUNT, 3072), dtype=np.uint8)
        labels = [int(n) for n in random.permutation(np.arange(COUNT) % 10)]
        if form == "binary":
            np.column_stack([np.asarray(labels, np.uint8), rows]).tofile(root / f"{name}.bin")
        elif form == "python 2":
            (root / name).write_bytes(python_2_batch(rows, labels))
        elif form == "python 3":
            (root / name).write_bytes(pickle.dumps({b"data": rows, b"labels": labels}, protocol=4))
        else:
            for i, (row, label) in enumerate(zip(rows, labels, strict=True)):
                split = "test" if name == "test_batch" else "train"
                path = root / split / CLASSES[label] / f"{name}_{i}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(row.reshape(3, 32, 32).transpose(1, 2, 0)).save(path)


def cifar(root: Path, **settings: Any) -> Any:
    method: Any = catalogue.find("data", "cifar10")
    return method(**settings).open(lambda name: {"cifar10": root}[name])


def digits(**settings: Any) -> Any:
    method: Any = catalogue.find("data", "digits")
    return method(**settings).open(Path)


@pytest.fixture(params=["digits", "cifar10", "folder"])
def data(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    if request.param == "digits":
        return digits(batch=16)
    small_cifar(tmp_path, "binary" if request.param == "cifar10" else "folders")
    if request.param == "cifar10":
        return cifar(tmp_path, batch=16)
    folder: Any = catalogue.find("data", "folder")
    return folder("x", size=64, batch=16).open(lambda _: tmp_path / "train")


def collect(data: Any, **how: Any) -> tuple[torch.Tensor, torch.Tensor]:
    parts = list(data.batches("train", **how))
    return torch.cat([x for x, _ in parts]), torch.cat([y for _, y in parts])


def test_in_order_reading_is_repeatable_and_whole(data: Any) -> None:
    (x, y), (again, _) = collect(data), collect(data, batch=7)
    assert x.dtype == torch.float32 and y.dtype == torch.int64
    assert tuple(x.shape[1:]) == data.input_shape
    assert len(x) == data.size("train")
    assert torch.equal(x, again)
    assert set(y.tolist()) == set(range(len(data.classes)))


def test_training_drops_the_last_incomplete_batch(data: Any) -> None:
    sizes = [len(y) for _, y in data.batches("train", epoch=0)]
    assert set(sizes) == {16}
    assert len(sizes) == data.size("train") // 16


def test_epochs_differ_and_repeat(data: Any) -> None:
    (x, y), (again, _), (other, z) = (collect(data, epoch=e, seed=1) for e in (2, 2, 3))
    assert torch.equal(x, again)
    assert not torch.equal(x, other)
    assert not torch.equal(y, z)


def test_resuming_inside_an_epoch_gives_the_rest(data: Any) -> None:
    whole = list(data.batches("train", epoch=1, seed=5))
    rest = list(data.batches("train", epoch=1, seed=5, start=3))
    assert len(rest) == len(whole) - 3
    for (a, b), (c, d) in zip(whole[3:], rest, strict=True):
        assert torch.equal(a, c) and torch.equal(b, d)


def test_augmentation_is_of_seed_epoch_and_index_and_not_of_the_batch(data: Any) -> None:
    one = collect(data, epoch=1, seed=5, batch=16, samples=32)[0]
    two = collect(data, epoch=1, seed=5, batch=8, samples=32)[0]
    assert torch.equal(one, two)


def test_samples_are_drawn_once(data: Any) -> None:
    x, y = collect(data, samples=20, seed=3)
    again, _ = collect(data, samples=20, seed=3)
    assert len(y) == 20 and torch.equal(x, again)
    assert not torch.equal(x, collect(data, samples=20, seed=4)[0])
    in_training = [{z.item() for _, b in data.batches("train", samples=20, seed=3, epoch=e) for z in b} for e in (0, 1)]
    assert in_training[0] <= set(y.tolist()) and in_training[1] <= set(y.tolist())


def test_a_batch_larger_than_the_data_is_the_data(data: Any) -> None:
    assert [len(y) for _, y in data.batches("train", epoch=0, samples=5)] == [5]


def test_digits_are_normalised_and_divided() -> None:
    data = digits()
    sizes = [data.size(s) for s in ("train", "val", "test")]
    assert sum(sizes) == 1797 and abs(sizes[2] - 359) < 5
    x = torch.cat([x for x, _ in data.batches("train")])
    assert abs(x.mean()) < 0.02 and abs(x.std() - 1) < 0.02


def test_digits_are_shifted_by_one_pixel_at_most_and_never_mirrored() -> None:
    data = digits(batch=1)
    black = -data.preprocessing.mean[0] / data.preprocessing.std[0]
    plain = {x.numpy().tobytes() for b, _ in data.batches("train") for x in b}
    for x, _ in data.batches("train", epoch=0, samples=30):
        big = torch.nn.functional.pad(x[0, 0], (1, 1, 1, 1), value=black)
        back = [big[r : r + 8, c : c + 8] for r in range(3) for c in range(3)]
        # Where the shift pushed nothing out, one shift back gives an original.
        if (x[0, 0, 1:-1, 1:-1] != black).sum() == (x[0, 0] != black).sum():
            assert any(b.numpy().tobytes() in plain for b in back)


@pytest.mark.parametrize("form", ["folders", "python 2", "python 3"])
def test_every_form_of_cifar_gives_the_same_images(tmp_path: Path, form: str) -> None:
    small_cifar(tmp_path / "binary", "binary")
    small_cifar(tmp_path / "other" / ("" if form == "folders" else "cifar-10-batches-py"), form)
    one, two = cifar(tmp_path / "binary"), cifar(tmp_path / "other")
    for split in ("train", "test"):
        found = [
            sorted((int(k), x.numpy().tobytes()) for b, y in d.batches(split) for x, k in zip(b, y, strict=True))
            for d in (one, two)
        ]
        if split == "test":
            assert found[0] == found[1]
        assert len(found[0]) == len(found[1])
    assert (one.size("train"), one.size("val"), one.size("test")) == (180, 20, 40)
    assert one.classes == two.classes == CLASSES


def test_validation_is_every_tenth_of_the_sorted_list(tmp_path: Path) -> None:
    small_cifar(tmp_path, "folders")
    paths = sorted(p.relative_to(tmp_path / "train").as_posix() for p in (tmp_path / "train").rglob("*.png"))
    held = [np.asarray(Image.open(tmp_path / "train" / p)) for p in paths[::10]]
    data = cifar(tmp_path)
    x = torch.cat([x for x, _ in data.batches("val")])
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (data.preprocessing.mean, data.preprocessing.std))
    got = ((x * std + mean) * 255).round().permute(0, 2, 3, 1)
    assert sorted(g.numpy().astype(np.uint8).tobytes() for g in got) == sorted(h.tobytes() for h in held)


def test_another_size_is_resized_after_augmentation(tmp_path: Path) -> None:
    small_cifar(tmp_path, "binary")
    data = cifar(tmp_path, size=48)
    x, _ = next(iter(data.batches("train", epoch=0)))
    assert tuple(x.shape[1:]) == data.input_shape == (3, 48, 48)


def test_a_hostile_pickle_is_read_and_never_run(tmp_path: Path) -> None:
    small_cifar(tmp_path, "python 2")
    mark = tmp_path / "run"
    rows = np.zeros((COUNT, 3072), np.uint8)
    code = b"cos\nsystem\n(U" + bytes([len(f"touch {mark}")]) + f"touch {mark}".encode() + b"tR0"
    (tmp_path / "data_batch_3").write_bytes(python_2_batch(rows, [1] * COUNT, extra=code))
    assert cifar(tmp_path).size("train") == 180
    assert not mark.exists()


@pytest.mark.parametrize("form", ["binary", "python 2"])
def test_damaged_cifar_files_are_refused(tmp_path: Path, form: str) -> None:
    small_cifar(tmp_path, form)
    ending = ".bin" if form == "binary" else ""
    path = tmp_path / f"data_batch_2{ending}"
    whole = path.read_bytes()
    for damaged in (whole[:-100], b"", b"junk" * 10, b"\xff" * len(whole)):
        path.write_bytes(damaged)
        with pytest.raises(Refusal) as caught:
            cifar(tmp_path)
        assert caught.value.code == "RCP0809"
    path.unlink()
    with pytest.raises(Refusal) as caught:
        cifar(tmp_path)
    assert "missing" in caught.value.message


def test_a_folder_that_holds_no_cifar(tmp_path: Path) -> None:
    with pytest.raises(Refusal) as caught:
        cifar(tmp_path)
    assert caught.value.code == "RCP0809"
    with pytest.raises(Refusal) as caught:
        cifar(tmp_path / "none")
    assert caught.value.code == "RCP0801"


def test_real_photographs(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    beside = request.config.rootpath.parent / "shared" / "data"
    archive = Path(os.environ.get("RECIPELANG_DATA", beside)) / "cifar10.tar.gz"
    if not archive.is_file():
        pytest.skip("no cifar10.tar.gz in $RECIPELANG_DATA")
    with tarfile.open(archive) as tar:  # the first two classes of the test images
        tar.extractall(tmp_path, itertools.islice(tar, 1500), filter="data")
    folder: Any = catalogue.find("data", "folder")
    data = folder("x", size=32).open(lambda _: tmp_path / "cifar10" / "test")
    assert data.classes == ("airplane", "automobile")
    sizes = [data.size(s) for s in ("train", "val", "test")]
    assert 1400 < sum(sizes) <= 1500 and abs(sizes[0] / sum(sizes) - 0.8) < 0.01
    x = collect(data, epoch=0)[0]
    assert x.mean().abs() < 0.6 and 0.8 < x.std() < 1.6  # near to normalised
