"""A folder of images becomes a data set: class folders to be divided, or train, val and test folders as they stand."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recipelang.errors import Refusal
from recipelang.images.cache import cached_array
from recipelang.images.dataset import ArrayPictures, FilePictures, ImageDataset, Pictures, fingerprint
from recipelang.images.decode import fit_picture, open_picture, read_bytes, shown
from recipelang.images.scan import ClassFolders, digest_files, folder_at, scan_classes, subfolders
from recipelang.images.splits import SPLITS, divide
from recipelang.kinds import Preprocessing

#: names under which the three splits come
SPLIT_NAMES = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
#: pictures smaller than this are kept decoded in memory and augmented by shifts; larger ones are read as needed
SMALL = 64
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Files:
    """The files of one split: paths below `root`, class numbers (int64 N) and SHA-256 of the bytes."""

    root: Path
    names: tuple[str, ...]
    labels: np.ndarray
    digests: tuple[bytes, ...]

    def take(self, indices: Sequence[int] | np.ndarray) -> Files:
        """Some of them."""
        chosen = [int(i) for i in indices]
        names, digests = tuple(self.names[i] for i in chosen), tuple(self.digests[i] for i in chosen)
        return Files(self.root, names, self.labels[chosen], digests)

    def identities(self) -> list[bytes]:
        """SHA-256 of each picture's name, class and bytes: what a fingerprint is made of."""
        rows = zip(self.names, self.labels, self.digests, strict=True)
        return [hashlib.sha256(os.fsencode(n) + b"\0%d\0" % label + d).digest() for n, label, d in rows]


#: how `train` is cut where splits have no folder: (train files, missing splits) → indices by split
Cut = Callable[[Files, tuple[str, ...]], dict[str, np.ndarray]]


def find_splits(
    root: Path, shares: tuple[float, ...], seed: int, cut: Cut | None = None
) -> tuple[tuple[str, ...], dict[str, Files], list[str]]:
    """Find the images of a folder and their splits.

    Args:
        root: class folders, or the folders `train`, `val` and `test` (the last two optional) with class folders.
        shares: of train, val and test, adding up to 1; what has no folder of its own is cut from train.
        seed: of the division.
        cut: another way to cut, for data sets with a custom of their own.

    Returns:
        (class names, split → files, notes for the user)

    Raises:
        Refusal: RCP0802 to RCP0808, RCP0810.
    """
    names = subfolders(root)
    roles = {SPLIT_NAMES[n.lower()]: n for n in names if n.lower() in SPLIT_NAMES}
    if "train" in roles and len(roles) == len(names):
        found = {split: scan_classes(root / folder) for split, folder in roles.items()}
    else:
        found = {"train": scan_classes(root)}
    classes = found["train"].classes
    files = {split: _files(f, classes, split) for split, f in found.items()}
    missing = tuple(s for s in SPLITS if s not in files)
    notes = _notes(found, files)
    if missing:
        whole = files["train"]
        parts = cut(whole, missing) if cut else _shares(whole, missing, classes, shares, seed)
        files |= {split: whole.take(indices) for split, indices in parts.items()}
    return classes, files, notes


def _files(found: ClassFolders, classes: tuple[str, ...], split: str) -> Files:
    """The files of a scan, with the class numbers of the training folder."""
    strange = [c for c in found.classes if c not in classes]
    if strange:
        raise Refusal(
            "RCP0810",
            f"the class `{shown(strange[0])}` of `{split}` has no folder in `train`",
            "use the same class folders in every split",
        )
    number = np.asarray([classes.index(c) for c in found.classes], np.int64)
    return Files(found.root, found.names, number[np.asarray(found.labels)], digest_files(found))


def _shares(
    train: Files, missing: tuple[str, ...], classes: tuple[str, ...], shares: tuple[float, ...], seed: int
) -> dict[str, np.ndarray]:
    """Cut what is missing from train, each split in proportion to its share."""
    wanted = {s: shares[SPLITS.index(s)] for s in ("train", *missing)}
    whole = sum(wanted.values())
    parts = divide(train.digests, train.labels.tolist(), [w / whole for w in wanted.values()], seed, classes)
    return dict(zip(wanted, parts, strict=True))


def _notes(found: dict[str, ClassFolders], files: dict[str, Files]) -> list[str]:
    ignored = sum(f.ignored for f in found.values())
    notes = [f"{ignored} file{'s' * (ignored != 1)} passed over: not images"] if ignored else []
    known = set(files["train"].digests)
    for split in ("val", "test"):
        shared = sum(d in known for d in files[split].digests) if split in files else 0
        if shared:
            notes.append(f"{shared} of the {len(files[split].names)} images of `{split}` are in `train` too")
    return notes


def open_folder(
    root: Path, *, size: int, batch: int, split: tuple[float, ...], seed: int, augment: bool
) -> ImageDataset:
    """The data set of a folder; see the card of `methods/data/folder.py`.

    Raises:
        Refusal: RCP0801 to RCP0808, RCP0810.
    """
    root = folder_at(root, "folder")
    classes, files, notes = find_splits(root, split, seed)
    # ImageNet's custom is 256 → 224.
    resize = round(size * 8 / 7) if size >= SMALL else None
    preprocessing = Preprocessing((size, size), IMAGENET_MEAN, IMAGENET_STD, resize)
    return open_files("folder", classes, files, preprocessing=preprocessing, batch=batch, augment=augment, notes=notes)


def open_files(
    name: str,
    classes: tuple[str, ...],
    files: dict[str, Files],
    *,
    preprocessing: Preprocessing,
    batch: int,
    augment: bool,
    stored: int | None = None,
    notes: Sequence[str] = (),
) -> ImageDataset:
    """The data set of these files.

    Args:
        stored: side in pixels at which small pictures are kept in memory, when it is not `preprocessing.size`.

    Raises:
        Refusal: RCP0805, RCP0806: a small picture cannot be read (large ones are read when their turn comes).
    """
    side = stored or min(preprocessing.size)
    pictures: dict[str, Pictures] = {}
    for split, f in files.items():
        if side < SMALL:
            kept = dataclasses.replace(preprocessing, size=(side, side), resize=None)
            images = decoded(f, kept)
            pictures[split] = ArrayPictures(images, f.labels, side // 8 if augment else 0, flip=augment)
        else:
            pictures[split] = FilePictures(f.root, f.names, f.labels, preprocessing, augment)
    key = fingerprint(
        {split: f.identities() for split, f in files.items()},
        classes=classes,
        preprocessing=dataclasses.asdict(preprocessing),
        stored=side,
        augment=augment,
        batch=batch,
    )
    return ImageDataset(name, classes, preprocessing, key, batch, pictures, tuple(notes))


def decoded(files: Files, preprocessing: Preprocessing) -> np.ndarray:
    """All pictures as one array, uint8 N×H×W×3, from the cache where they have been decoded before.

    Raises:
        Refusal: RCP0805, RCP0806.
    """
    height, width = preprocessing.size
    shape = (len(files.names), height, width, 3)
    key = hashlib.sha256(f"{height}x{width} {preprocessing.resize}".encode() + b"".join(files.digests)).hexdigest()

    def one(name: str) -> np.ndarray:
        return fit_picture(open_picture(read_bytes(files.root / name, name), name), preprocessing)

    def compute() -> np.ndarray:
        array = np.empty(shape, np.uint8)
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            for i, pixels in enumerate(pool.map(one, files.names)):
                array[i] = pixels
        return array

    return cached_array(key, shape, compute)
