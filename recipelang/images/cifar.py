"""CIFAR-10 in each of its forms: class folders, the binary files, the Python files.

Source: Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images; https://www.cs.toronto.edu/~kriz/cifar.html
"""

from __future__ import annotations

import hashlib
import pickletools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from recipelang.errors import Refusal
from recipelang.images.dataset import ArrayImages, ImageDataset, fingerprint
from recipelang.images.decode import read_bytes, shown
from recipelang.images.files import IMAGENET_MEAN, IMAGENET_STD, Files, open_files
from recipelang.images.folder import find_splits
from recipelang.images.scan import folder_at
from recipelang.images.splits import SPLITS
from recipelang.kinds import Preprocessing

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
TRAIN_FILES = tuple(f"data_batch_{i}" for i in range(1, 6))
VALIDATION_EVERY = 10  # every tenth training image, counted from the first
SIDE, PIXELS = 32, 3 * 32 * 32


def open_cifar10(root: Path, *, size: int, batch: int, augment: bool) -> ImageDataset:
    """CIFAR-10 from the folder that holds it, in whichever form.

    Args:
        root: `train/` and `test/` with class folders, or `data_batch_1.bin` …, or `data_batch_1` …; or a folder
            that holds one of these as `cifar10`, `cifar-10-batches-bin` or `cifar-10-batches-py`.
        size: side of the images handed out; if not 32, they are resized after augmentation.
        batch: training batch size.
        augment: padding 4 and mirroring.

    Raises:
        Refusal: RCP0801 no such folder; RCP0809 no CIFAR-10 in it, or damaged files; others as in `find_splits`.
    """
    root = folder_at(root, "cifar10")
    preprocessing = Preprocessing((size, size), IMAGENET_MEAN, IMAGENET_STD)
    for place in (root, *(root / n for n in ("cifar10", "cifar-10-batches-bin", "cifar-10-batches-py"))):
        if (place / "train").is_dir() and (place / "test").is_dir():
            return open_files(
                "cifar10",
                find_splits(place, (0.9, 0.1, 0.0), 0, _every_tenth),
                preprocessing=preprocessing,
                batch=batch,
                augment=augment,
                stored=SIDE,
            )
        for ending in (".bin", ""):
            if (place / f"data_batch_1{ending}").is_file():
                return _from_batches(place, ending, preprocessing, batch, augment)
    raise Refusal(
        "RCP0809",
        f"`{shown(root)}` holds no CIFAR-10",
        "the folder has `train/` and `test/` with a folder per class, or the files `data_batch_1.bin` to "
        "`data_batch_5.bin` and `test_batch.bin`",
    )


def _every_tenth(train: Files, missing: tuple[str, ...]) -> dict[str, np.ndarray]:
    """A validation split for data without one: every tenth image of the list sorted by path."""
    order = np.asarray(sorted(range(len(train.names)), key=lambda i: train.names[i]))
    held = np.zeros(len(order), bool)
    held[order[::VALIDATION_EVERY]] = True
    return {"train": np.flatnonzero(~held), "val": np.flatnonzero(held)}


def _from_batches(root: Path, ending: str, preprocessing: Preprocessing, batch: int, augment: bool) -> ImageDataset:
    read = read_binary if ending == ".bin" else read_python
    parts = [read(root / f"{name}{ending}") for name in TRAIN_FILES]
    images, labels = np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])
    held = np.arange(len(labels)) % VALIDATION_EVERY == 0
    test = read(root / f"test_batch{ending}")
    content = {"train": (images[~held], labels[~held]), "val": (images[held], labels[held]), "test": test}
    key = fingerprint(
        {s: [hashlib.sha256(content[s][0].tobytes() + content[s][1].tobytes()).digest()] for s in SPLITS},
        size=preprocessing.size,
        augment=augment,
        batch=batch,
    )
    padding = (SIDE // 8, SIDE // 8) if augment else (0, 0)
    if preprocessing.size != (SIDE, SIDE):
        preprocessing = replace(preprocessing, via=(SIDE, SIDE))
    splits = {s: ArrayImages(x, y, padding, flip=augment) for s, (x, y) in content.items()}
    return ImageDataset("cifar10", CLASSES, preprocessing, key, batch, splits)


def _damaged(path: Path, why: str) -> Refusal:
    return Refusal(
        "RCP0809",
        f"`{shown(path.name)}` is not a CIFAR-10 batch: {why}",
        "unpack the archive again, or download it again",
    )


def _checked(path: Path, rows: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if not len(labels) or labels.max() >= len(CLASSES):
        raise _damaged(path, "a label is not in 0 to 9" if len(labels) else "it is empty")
    images = rows.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), labels.astype(np.int64)


def _bytes(path: Path) -> bytes:
    if not path.is_file():
        raise _damaged(path, "the file is missing")
    return read_bytes(path, path.name)


def read_binary(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """A binary batch: rows of one label byte and 3×32×32 pixel bytes.

    Returns:
        images uint8 N×32×32×3, labels int64 N.

    Raises:
        Refusal: RCP0809.
    """
    data = np.frombuffer(_bytes(path), np.uint8)
    if len(data) % (1 + PIXELS):
        raise _damaged(path, f"{len(data):,} bytes are not a whole number of images")
    rows = data.reshape(-1, 1 + PIXELS)
    return _checked(path, rows[:, 1:], rows[:, 0])


def read_python(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """A Python batch. Unpickling may run code: this pickle is read opcode by opcode and never run.

    The pixels are the one string whose length is a whole number of images, the labels the numbers that follow the key
    `labels`.

    Returns:
        images uint8 N×32×32×3, labels int64 N.

    Raises:
        Refusal: RCP0809.
    """
    labels: list[Any] = []
    pixels, in_labels = b"", False
    try:
        for opcode, argument, _ in pickletools.genops(_bytes(path)):
            if isinstance(argument, str | bytes):
                text = argument if isinstance(argument, bytes) else argument.encode("latin-1", "replace")
                if len(text) >= PIXELS and len(text) % PIXELS == 0:
                    pixels = text
                in_labels = text == b"labels" or (in_labels and not labels)
            elif in_labels and opcode.name in ("BININT1", "BININT", "BININT2", "INT"):
                labels.append(argument)
            elif labels and opcode.name in ("APPENDS", "SETITEMS", "TUPLE"):
                in_labels = False
    except (ValueError, IndexError, UnicodeDecodeError, MemoryError, OverflowError) as error:
        raise _damaged(path, "it is not a complete pickle") from error
    rows = np.frombuffer(pixels, np.uint8).reshape(-1, PIXELS)
    if not labels or len(labels) != len(rows) or not all(isinstance(n, int) and 0 <= n < 10 for n in labels):
        raise _damaged(path, f"{len(rows)} images and {len(labels)} labels were found")
    return _checked(path, rows, np.asarray(labels, np.int64))
