"""Sets of torchvision: each is known with its splits, none is downloaded, and images are torchvision's own."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import torch
import torchvision.datasets
from PIL import Image

from recipelang.catalogue import find
from recipelang.check import check
from recipelang.errors import RecipeError, Refusal
from recipelang.images.known_sets import OTHERS, SETS
from recipelang.syntax.parse import parse

#: classes of torchvision.datasets with splits that are no classification of images, or no sets with classes in common
WITHOUT = {
    **dict.fromkeys(("Kitti", "VOCDetection", "VOCSegmentation", "SBDataset", "WIDERFace"), "other targets"),
    **dict.fromkeys(("HMDB51", "UCF101", "Kinetics", "MovingMNIST"), "videos"),
    **dict.fromkeys(("LFWPairs", "PhotoTour"), "pairs"),
    **dict.fromkeys(("LFWPeople", "Omniglot", "INaturalist"), "its parts have different classes"),
    **dict.fromkeys(("FakeData", "ImageFolder", "DatasetFolder"), "no set"),
    **dict.fromkeys(("LSUN", "LSUNClass"), "databases of LMDB"),
    "PCAM": "needs h5py, which is not among the dependencies",
    "SBU": "captions",
}


def opened(name: str, root: Path, **settings: Any) -> Any:
    method: Any = find("data", "torchvision")
    return method(collection=name, root="sets", **settings).open(lambda _: root)


def random_images(count: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, *shape), dtype=np.uint8)


def idx(path: Path, array: np.ndarray) -> None:
    """A file of MNIST's format."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = (0x0800 + array.ndim).to_bytes(4, "big") + b"".join(n.to_bytes(4, "big") for n in array.shape)
    path.write_bytes(header + array.tobytes())


def mnist(root: Path, name: str = "MNIST") -> None:
    for part, count in (("train", 60), ("t10k", 20)):
        idx(root / name / "raw" / f"{part}-images-idx3-ubyte", random_images(count, 28, 28))
        idx(root / name / "raw" / f"{part}-labels-idx1-ubyte", (np.arange(count) % 10).astype(np.uint8))


def svhn(root: Path) -> None:
    for part, count in (("train", 60), ("test", 20)):
        pixels = random_images(count, 32, 32, 3).transpose(1, 2, 3, 0)
        scipy.io.savemat(root / f"{part}_32x32.mat", {"X": pixels, "y": (np.arange(count) % 10 + 1)[:, None]})


def saved(path: Path, k: int, size: tuple[int, int] = (40, 30)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(k).integers(0, 256, (*size, 3), dtype=np.uint8)).save(path)


def country(root: Path) -> None:
    for k, part in enumerate(("train", "valid", "test")):
        for n in range(6):
            saved(root / "country211" / part / ("DE", "FR")[n % 2] / f"{n}.jpg", 10 * k + n)


def eurosat(root: Path) -> None:
    for n in range(40):
        saved(root / "eurosat" / "2750" / ("Forest", "River")[n % 2] / f"{n}.jpg", n)


def signs(root: Path) -> None:
    base = root / "gtsrb" / "GTSRB"
    for n in range(20):
        saved(base / "Training" / f"{n % 2:05d}" / f"{n}.ppm", n)
    for n in range(4):
        saved(base / "Final_Test" / "Images" / f"{n:05d}.ppm", 100 + n)
    rows = "".join(f"{n:05d}.ppm;0;0;0;0;0;0;{n % 2}\n" for n in range(4))
    (root / "gtsrb" / "GT-final_test.csv").write_text(
        f"Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId\n{rows}"
    )


def pets(root: Path) -> None:
    notes = root / "oxford-iiit-pet" / "annotations"
    notes.mkdir(parents=True)
    for part, count, first in (("trainval", 20, 0), ("test", 6, 100)):
        names = [f"{('Abyssinian', 'beagle')[n % 2]}_{first + n}" for n in range(count)]
        lines = [f"{name} {n % 2 + 1} {n % 2 + 1} 1\n" for n, name in enumerate(names)]
        (notes / f"{part}.txt").write_text("".join(lines))
        for n, name in enumerate(names):
            saved(root / "oxford-iiit-pet" / "images" / f"{name}.jpg", first + n)


def faces(root: Path, name: str = "fer2013.csv") -> None:
    """FER2013 in one of the two files that hold all of it; they differ in the order of columns and in spaces."""
    head, row = {
        "fer2013.csv": ("emotion,pixels,Usage", "{label},{pixels},{usage}"),
        "icml_face_data.csv": ("emotion, Usage, pixels", "{label},{usage},{pixels}"),
    }[name]
    lines = [head]
    for k, pixels in enumerate(random_images(80, 48, 48)):
        usage = "Training" if k < 60 else ("PublicTest", "PrivateTest")[k % 2]
        text = " ".join(map(str, pixels.ravel().tolist()))
        lines.append(row.format(label=k % 7, pixels=text, usage=usage))
    (root / "fer2013").mkdir(parents=True)
    (root / "fer2013" / name).write_text("\n".join(lines) + "\n")


MADE: dict[str, tuple[Callable[[Path], None], tuple[int, ...], tuple[int, ...], tuple[str, ...]]] = {
    # name: files, sizes of the splits, input shape, first classes
    "MNIST": (mnist, (50, 10, 20), (1, 28, 28), ("0 - zero", "1 - one")),
    "FashionMNIST": (lambda root: mnist(root, "FashionMNIST"), (50, 10, 20), (1, 28, 28), ("T-shirt/top", "Trouser")),
    "KMNIST": (lambda root: mnist(root, "KMNIST"), (50, 10, 20), (1, 28, 28), ("o", "ki")),
    "FER2013": (faces, (53, 7, 20), (1, 48, 48), ("0", "1")),
    "SVHN": (svhn, (50, 10, 20), (3, 32, 32), ("0", "1")),
    "Country211": (country, (6, 6, 6), (3, 224, 224), ("DE", "FR")),
    "EuroSAT": (eurosat, (32, 4, 4), (3, 224, 224), ("Forest", "River")),
    "GTSRB": (signs, (18, 2, 4), (3, 224, 224), ("0", "1")),
    "OxfordIIITPet": (pets, (18, 2, 6), (3, 224, 224), ("Abyssinian", "Beagle")),
}


@pytest.fixture(autouse=True)
def unverified(monkeypatch: pytest.MonkeyPatch) -> None:
    """SVHN and FER2013 compare with the checksums of the published files."""
    monkeypatch.setattr(torchvision.datasets.SVHN, "_check_integrity", lambda self: True)
    for module in ("torchvision.datasets.fer2013", "recipelang.images.fer2013"):
        monkeypatch.setattr(f"{module}.check_integrity", lambda path, md5: Path(path).is_file())


@pytest.mark.parametrize("name", MADE)
def test_images_and_labels_are_those_of_torchvision(name: str, tmp_path: Path) -> None:
    make, sizes, shape, classes = MADE[name]
    make(tmp_path)
    data = opened(name, tmp_path, batch=4)
    assert tuple(data.size(split) for split in ("train", "val", "test")) == sizes
    assert data.input_shape == shape and data.classes[:2] == classes
    split = "test" if "test" in SETS[name].splits else "train"
    own = getattr(torchvision.datasets, name)(tmp_path, **SETS[name].splits[split])
    expected = sorted(
        (np.asarray(own[k][0].resize((24, 24), Image.Resampling.NEAREST)).tobytes(), own[k][1]) for k in range(len(own))
    )
    found = []
    for one in [split] if split == "test" else ["train", "val", "test"]:
        images: Any = data.images[one]
        for k, label in enumerate(images.labels.tolist()):
            if hasattr(images, "images"):
                pixels = images.images[k]
                image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
            else:
                with Image.open(Path(images.reader.root) / images.names[k]) as opened_image:
                    image = opened_image.convert("RGB")
            found.append((np.asarray(image.resize((24, 24), Image.Resampling.NEAREST)).tobytes(), label))
    assert sorted(found) == expected
    x, y = next(iter(data.batches("train", epoch=0)))
    assert x.shape[1:] == shape and x.dtype == torch.float32 and y.dtype == torch.int64
    again = opened(name, tmp_path, batch=4)
    assert again.fingerprint == data.fingerprint


def test_size_and_channels_may_be_others(tmp_path: Path) -> None:
    mnist(tmp_path)
    plain, large = opened("MNIST", tmp_path), opened("MNIST", tmp_path, size=64, channels=3)
    assert large.input_shape == (3, 64, 64) and large.fingerprint != plain.fingerprint
    assert next(iter(large.batches("train", epoch=0))).inputs.shape == (32, 3, 64, 64)


def test_the_other_file_of_faces_gives_the_same_and_one_without_labels_is_refused(tmp_path: Path) -> None:
    for name in ("fer2013.csv", "icml_face_data.csv"):
        faces(tmp_path / name, name)
    one, other = (opened("FER2013", tmp_path / name) for name in ("fer2013.csv", "icml_face_data.csv"))
    assert one.fingerprint == other.fingerprint
    faces(tmp_path / "apart")
    file = tmp_path / "apart" / "fer2013" / "fer2013.csv"
    rows = [line.split(",") for line in file.read_text().splitlines()[1:]]
    file.with_name("train.csv").write_text("\n".join(["emotion,pixels", *(",".join(row[:2]) for row in rows[:60])]))
    file.with_name("test.csv").write_text("\n".join(["pixels", *(row[1] for row in rows[60:])]))
    file.unlink()
    with pytest.raises(Refusal) as caught:
        opened("FER2013", tmp_path / "apart")
    assert caught.value.code == "RCP0857" and "test.csv has no labels; fer2013.csv" in caught.value.message


def test_digits_are_not_mirrored_and_clothes_are(tmp_path: Path) -> None:
    mnist(tmp_path)
    mnist(tmp_path, "FashionMNIST")
    assert not opened("MNIST", tmp_path).images["train"].flip
    assert opened("FashionMNIST", tmp_path).images["train"].flip
    signs(tmp_path)
    files = opened("GTSRB", tmp_path, size=64).images["train"]
    draws = np.full((1, 5), 0.2)
    assert not files.flip
    assert (files._one(0, draws[0]) == files._one(0, np.where(np.arange(5) == 4, 0.9, draws[0]))).all()


@pytest.mark.parametrize("name", SETS)
def test_a_set_that_is_missing_is_refused_with_what_to_do(name: str, tmp_path: Path) -> None:
    """Every set is opened in an empty folder: torchvision knows the splits, and what it misses are files."""
    with pytest.raises(Refusal) as caught:
        opened(name, tmp_path)
    refusal = caught.value
    assert refusal.code == "RCP0857" and f"torchvision's {name} is not in `{tmp_path}" in refusal.message
    assert "keyword" not in refusal.message and "Unknown value" not in refusal.message
    if SETS[name].downloads:
        keywords = inspect.signature(getattr(torchvision.datasets, name)).parameters
        assert "download=True" in refusal.help
        assert "download" in keywords or name in ("EMNIST", "QMNIST")
    assert not any(path.is_file() for path in tmp_path.rglob("*"))


def test_all_sets_of_torchvision_are_known_or_left_out_for_a_reason() -> None:
    with_splits = {
        name
        for name in torchvision.datasets.__all__
        if inspect.isclass(found := getattr(torchvision.datasets, name))
        and {"train", "split", "download"} & set(inspect.signature(found).parameters)
        and not name.endswith(("Stereo", "Flow"))
    }
    flow = {"FlyingChairs", "FlyingThings3D", "HD1K", "Sintel", "Cityscapes", "InStereo2k"}
    assert with_splits - set(SETS) - set(WITHOUT) - flow == set()
    assert not set(SETS) & set(WITHOUT) and set(OTHERS) <= set(WITHOUT)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ('torchvision.FashionMNST("x")', "did you mean `FashionMNIST`?"),
        ('torchvision.ImageFolder("x")', 'write `folder("photos")`'),
        ('torchvision.VOCDetection("x")', "the sets are CIFAR10"),
        ('torchvision.EMNIST("x", variant="leters")', "did you mean `letters`?"),
        ('torchvision.MNIST("x", variant="letters")', "leave it out"),
        ('torchvision.MNIST("x", channels=2)', "`channels=1` or `channels=3`"),
    ],
)
def test_names_are_checked_before_anything_runs(call: str, words: str) -> None:
    with pytest.raises(RecipeError) as caught:
        check(parse(f"data {call}\nmodel resnet20", "test.rcp"))
    assert any(words in diagnostic.help for diagnostic in caught.value.diagnostics)


def test_damaged_files_are_told(tmp_path: Path) -> None:
    mnist(tmp_path)
    (tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte").write_bytes(b"junk")
    with pytest.raises(Refusal) as caught:
        opened("MNIST", tmp_path)
    assert caught.value.code == "RCP0857" and "cannot be read from" in caught.value.message
