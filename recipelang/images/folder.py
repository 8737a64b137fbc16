"""A folder of images becomes a data set: class folders to be divided, or train, val and test folders as they are."""

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
from recipelang.images.cache import Known, cached_array
from recipelang.images.classes import alike, match
from recipelang.images.dataset import ArrayImages, FileImages, ImageDataset, Images, fingerprint
from recipelang.images.decode import open_image, read_bytes, shown
from recipelang.images.depth import HALF
from recipelang.images.inspection import look_at, names_of, unreadable
from recipelang.images.preprocessing import entries
from recipelang.images.resize import fit_image
from recipelang.images.scan import ClassFolders, folder_at, scan_classes, subfolders
from recipelang.images.splits import SPLITS, divide
from recipelang.kinds import Preprocessing

#: folder names of the three splits
SPLIT_NAMES = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
#: images smaller than this are kept decoded in memory and augmented by shifts; larger ones are read as needed
SMALL = 64
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
GREY_MEAN, GREY_STD = (0.449,), (0.226,)  # the same, averaged over the colours
DEPTH = 2  # version of the conversion of samples to 8 bits


@dataclass(frozen=True)
class Files:
    """The files of one split: paths below `root`, class numbers (int64 N) and SHA-256 of the bytes."""

    root: Path
    names: tuple[str, ...]
    labels: np.ndarray
    digests: tuple[bytes, ...]

    def take(self, indices: Sequence[int] | np.ndarray) -> Files:
        """The files with these indices."""
        chosen = [int(i) for i in indices]
        names, digests = tuple(self.names[i] for i in chosen), tuple(self.digests[i] for i in chosen)
        return Files(self.root, names, self.labels[chosen], digests)

    def identities(self) -> list[bytes]:
        """SHA-256 of each image's name, class and bytes, from which a fingerprint is made."""
        rows = zip(self.names, self.labels, self.digests, strict=True)
        return [hashlib.sha256(os.fsencode(n) + b"\0%d\0" % label + d).digest() for n, label, d in rows]


#: how `train` is cut if splits have no folder: (train files, missing splits) → indices by split
Cut = Callable[[Files, tuple[str, ...]], dict[str, np.ndarray]]


@dataclass(frozen=True)
class Splits:
    """What a folder holds.

    Attributes:
        classes: names of the classes.
        files: split → files.
        notes: what the user is told.
        deep: whether some images have 16 bits and do not say how many they use.
    """

    classes: tuple[str, ...]
    files: dict[str, Files]
    notes: tuple[str, ...]
    deep: bool = False


def find_splits(
    root: Path,
    shares: tuple[float, ...],
    seed: int,
    cut: Cut | None = None,
    *,
    skip: bool = False,
    bits: int | None = None,
) -> Splits:
    """Find the images of a folder and their splits.

    Args:
        root: class folders, or the folders `train`, `val` and `test` (the last two optional) with class folders.
        shares: of train, val and test, adding up to 1; a split without its own folder is cut from train.
        seed: of the division.
        cut: another way to cut, for data sets with an established split.
        skip: whether images that cannot be read are left out.
        bits: how many bits 16-bit images use if their files do not say.

    Raises:
        Refusal: RCP0802 to RCP0808, RCP0810, RCP0820.
    """
    names = subfolders(root)
    roles = {SPLIT_NAMES[n.lower()]: n for n in names if n.lower() in SPLIT_NAMES}
    if "train" in roles and len(roles) == len(names):
        found = {split: scan_classes(root / folder) for split, folder in roles.items()}
    else:
        found = {"train": scan_classes(root)}
    classes = found["train"].classes
    numbers = {split: _class_numbers(folders, classes, split) for split, folders in found.items()}
    looks = {split: look_at(folders, skip) for split, folders in found.items()}
    known = [look for _, some, _ in looks.values() for look in some]
    deep = refuse_unclear_range([look.peak for look in known if look.peak is not None], bits)
    files = {split: _files(readable, numbers[split], some) for split, (readable, some, _) in looks.items()}
    missing = tuple(s for s in SPLITS if s not in files)
    left_out = [name for _, _, names in looks.values() for name in names]
    notes = _notes(found, files, left_out, sum(look.frames for look in known))
    if missing:
        whole = files["train"]
        parts = cut(whole, missing) if cut else _shares(whole, missing, classes, shares, seed)
        files |= {split: whole.take(indices) for split, indices in parts.items()}
    return Splits(classes, files, notes, deep)


def refuse_unclear_range(peaks: Sequence[int], bits: int | None) -> bool:
    """Refuse 16-bit images that do not say how many bits they use, if they do not seem to use all 16.

    Args:
        peaks: largest sample of each 16-bit image that does not say how many bits it uses.
        bits: how many bits they use, according to the recipe.

    Returns:
        whether there are such images.

    Raises:
        Refusal: RCP0820.
    """
    peak = max(peaks, default=0)
    images = f"{len(peaks)} 16-bit image{'s' * (len(peaks) != 1)}"
    if bits is None and 0 < peak < HALF:
        least = max(9, peak.bit_length())
        raise Refusal(
            "RCP0820",
            f"{images} use{'s' * (len(peaks) == 1)} no value above {peak:,}, so it is not clear which value is white",
            f"write `bits={least}` if {2**least - 1:,} is white, or `bits=16` if the images are really this dark",
        )
    if bits is not None and peak > 2**bits - 1:
        message = f"`bits={bits}` has {2**bits - 1:,} as its largest value, and the images hold {peak:,}"
        raise Refusal("RCP0820", message, f"write `bits={peak.bit_length()}`, or leave it out")
    return bool(peaks)


def _class_numbers(found: ClassFolders, classes: tuple[str, ...], split: str) -> tuple[int, ...]:
    """For each class folder of a split, the number of the training folder of the same name, ignoring case."""
    same = match(classes, found.classes)
    if same is None or same.how != "name":
        strange = next((c for c in found.classes if not match(classes, (c,))), found.classes[0])
        raise Refusal(
            "RCP0810",
            f"the class `{shown(strange)}` of `{split}` has no folder in `train`",
            "use the same class folders in every split",
        )
    return same.outputs


def _files(found: ClassFolders, numbers: tuple[int, ...], known: tuple[Known, ...]) -> Files:
    """The files of a scan, with the class numbers of the training folder."""
    labels = np.asarray(numbers, np.int64)[np.asarray(found.labels, np.int64)]
    return Files(found.root, found.names, labels, tuple(look.digest for look in known))


def _shares(
    train: Files, missing: tuple[str, ...], classes: tuple[str, ...], shares: tuple[float, ...], seed: int
) -> dict[str, np.ndarray]:
    """Cut the missing splits from train, each in proportion to its share."""
    wanted = {s: shares[SPLITS.index(s)] for s in ("train", *missing)}
    whole = sum(wanted.values())
    parts = divide(train.digests, train.labels.tolist(), [w / whole for w in wanted.values()], seed, classes)
    return dict(zip(wanted, parts, strict=True))


def _notes(
    found: dict[str, ClassFolders], files: dict[str, Files], left_out: Sequence[str], frames: int
) -> tuple[str, ...]:
    ignored = sum(f.ignored for f in found.values())
    notes = [f"{ignored} file{'s' * (ignored != 1)} skipped: not images"] if ignored else []
    for one, other in alike(found["train"].classes):
        notes.append(f"the class folders `{shown(one)}` and `{shown(other)}` look alike and are two classes")
    if left_out:
        count = f"{len(left_out)} image{'s' * (len(left_out) != 1)}"
        notes.append(f"{count} left out because they cannot be read: {names_of(left_out)}")
    if frames:
        notes.append(f"{frames} image{'s' * (frames != 1)} with several frames: the first is used")
    known = set(files["train"].digests)
    for split in ("val", "test"):
        shared = sum(d in known for d in files[split].digests) if split in files else 0
        if shared:
            notes.append(f"{shared} of the {len(files[split].names)} images of `{split}` are also in `train`")
    return tuple(notes)


def open_folder(
    root: Path,
    *,
    size: tuple[int, int],
    batch: int,
    split: tuple[float, ...],
    seed: int,
    augment: bool,
    channels: int = 3,
    bits: int | None = None,
    skip: bool = False,
) -> ImageDataset:
    """The data set of a folder; see the card of `methods/data/folder.py`.

    Raises:
        Refusal: RCP0801 to RCP0808, RCP0810, RCP0820.
    """
    root = folder_at(root, "folder")
    found = find_splits(root, split, seed, skip=skip, bits=bits)
    mean, std = (IMAGENET_MEAN, IMAGENET_STD) if channels == 3 else (GREY_MEAN, GREY_STD)
    preprocessing = Preprocessing(size, mean, std, bits=bits)
    if min(size) >= SMALL:
        # The usual preprocessing of ImageNet is 256 → 224.
        preprocessing = dataclasses.replace(preprocessing, resize=round(min(size) * 8 / 7), crop="rounded")
    return open_files("folder", found, preprocessing=preprocessing, batch=batch, augment=augment)


def open_files(
    name: str,
    found: Splits,
    *,
    preprocessing: Preprocessing,
    batch: int,
    augment: bool,
    stored: int | None = None,
) -> ImageDataset:
    """The data set of these files.

    Args:
        stored: side in pixels at which small images are kept in memory, when it is not `preprocessing.size`.

    Raises:
        Refusal: RCP0805, RCP0806: a small image cannot be read (large ones are read when they are needed).
    """
    size = (stored, stored) if stored else preprocessing.size
    if size != preprocessing.size:
        preprocessing = dataclasses.replace(preprocessing, via=size)
    images: dict[str, Images] = {}
    for split, f in found.files.items():
        if min(size) < SMALL:
            kept = dataclasses.replace(preprocessing, size=size, resize=None, via=None)
            padding = (size[0] // 8, size[1] // 8) if augment else (0, 0)
            images[split] = ArrayImages(decoded(f, kept), f.labels, padding, flip=augment)
        else:
            images[split] = FileImages(f.root, f.names, f.labels, preprocessing, augment)
    key = fingerprint(
        {split: f.identities() for split, f in found.files.items()},
        classes=found.classes,
        preprocessing={n: v for n, v in entries(preprocessing).items() if n != "via"},
        stored=min(size),
        augment=augment,
        batch=batch,
        **({"depth": DEPTH} if found.deep else {}),
    )
    return ImageDataset(name, found.classes, preprocessing, key, batch, images, found.notes)


def decoded(files: Files, preprocessing: Preprocessing) -> np.ndarray:
    """All images as one array, uint8 N×H×W×C, from the cache if they have been decoded before.

    Raises:
        Refusal: RCP0805, RCP0806.
    """
    channels = len(preprocessing.mean)
    shape = (len(files.names), *preprocessing.size, channels)
    how = [*preprocessing.size, channels, preprocessing.bits, DEPTH]
    key = hashlib.sha256(repr(how).encode() + b"".join(files.digests)).hexdigest()

    def one(name: str) -> np.ndarray | Refusal:
        try:
            image = open_image(read_bytes(files.root / name, name), name, channels, preprocessing.bits)
            return fit_image(image, preprocessing)
        except Refusal as refusal:
            return refusal

    def compute() -> np.ndarray:
        array = np.empty(shape, np.uint8)
        bad = []
        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            for i, pixels in enumerate(pool.map(one, files.names)):
                if isinstance(pixels, Refusal):
                    bad.append((files.names[i], pixels))
                else:
                    array[i] = pixels
        if bad:
            raise unreadable(bad, len(files.names))
        return array

    return cached_array(key, shape, compute)
