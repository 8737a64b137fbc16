"""From image files that are listed by split to a data set: looked at, divided, opened."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from recipelang.errors import Refusal
from recipelang.images.cache import Known, cached_array
from recipelang.images.dataset import ArrayImages, FileImages, ImageDataset, Images, fingerprint
from recipelang.images.decode import open_image
from recipelang.images.depth import HALF
from recipelang.images.inspection import look_at, names_of, require_classes, unreadable
from recipelang.images.preprocessing import entries
from recipelang.images.readers import Reader, Stamp
from recipelang.images.resize import fit_image
from recipelang.images.several_labels import NONE, require_varied, strata
from recipelang.images.splits import SPLITS, divide
from recipelang.kinds import Preprocessing
from recipelang.making import many_objects

#: images smaller than this are kept decoded in memory and augmented by shifts; larger ones are read as needed
SMALL = 64
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
GREY_MEAN, GREY_STD = (0.449,), (0.226,)  # the same, averaged over the colours
DEPTH = 2  # version of the conversion of samples to 8 bits


@dataclass(frozen=True)
class Listed:
    """Images of one place, before any is looked at.

    Attributes:
        reader: of the place.
        names: of the images.
        labels: class number of each, or a 0 or 1 for each label.
        splits: `train`, `val` or `test` of each; the ones that no image has are cut from `train`.
        stamps: of each image, where the reader has been asked already; else empty.
    """

    reader: Reader
    names: Sequence[str]
    labels: Sequence[Any]
    splits: Sequence[str]
    stamps: Sequence[Stamp] = ()


@dataclass(frozen=True)
class Files:
    """The images of one split: names, class numbers (int64 N; N×C of 0 and 1 for labels) and SHA-256 of the bytes."""

    reader: Reader
    names: tuple[str, ...]
    labels: np.ndarray
    digests: tuple[bytes, ...]

    def take(self, indices: Sequence[int] | np.ndarray) -> Files:
        """The files with these indices."""
        chosen = [int(i) for i in indices]
        names, digests = tuple(self.names[i] for i in chosen), tuple(self.digests[i] for i in chosen)
        return Files(self.reader, names, self.labels[chosen], digests)

    def identities(self) -> list[bytes]:
        """SHA-256 of each image's name, class and bytes, from which a fingerprint is made."""
        rows = zip(self.names, self.labels.tolist(), self.digests, strict=True)
        told = (lambda label: b"%d" % label) if self.labels.ndim == 1 else bytes
        return [hashlib.sha256(b"\0".join((os.fsencode(n), told(label), d))).digest() for n, label, d in rows]


#: how `train` is cut if splits are missing: (train files, missing splits) → indices by split
Cut = Callable[[Files, tuple[str, ...]], dict[str, np.ndarray]]


@dataclass(frozen=True)
class Splits:
    """Images by split.

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


@many_objects()
def gather(
    listed: Sequence[Listed],
    classes: tuple[str, ...],
    shares: tuple[float, ...],
    seed: int,
    *,
    cut: Cut | None = None,
    skip: bool = False,
    bits: int | None = None,
    notes: Sequence[str] = (),
) -> Splits:
    """Look at all images, and cut the splits that are missing from `train`.

    Args:
        listed: the images, `train` among them; images of one split are in one place.
        classes: their names.
        shares: of train, val and test, adding up to 1; a missing split is cut from train in proportion to its share.
        seed: of the division.
        cut: another way to cut, for data sets with an established split.
        skip: whether images that cannot be read are left out.
        bits: how many bits 16-bit images use if their files do not say.
        notes: what the user is told before what is found here.

    Raises:
        Refusal: RCP0803 no image of a class can be read; RCP0805, RCP0806 an image cannot; RCP0808, RCP0820; RCP0870 a
            label is the same for all training images.
    """
    files: dict[str, Files] = {}
    known: list[Known] = []
    left_out: list[str] = []
    for one in listed:
        look = look_at(one.reader, one.names, skip, one.stamps)
        if look.left_out and isinstance(one.labels[0], int):
            require_classes(set(one.labels), {one.labels[k] for k in look.kept}, classes)
        left_out += look.left_out
        known += look.known
        rows: dict[str, list[int]] = {}  # among those kept
        for row, k in enumerate(look.kept):
            rows.setdefault(one.splits[k], []).append(row)
        for split, chosen in rows.items():
            places = [look.kept[row] for row in chosen]
            names, labels = tuple(one.names[k] for k in places), np.asarray([one.labels[k] for k in places], np.int64)
            files[split] = Files(one.reader, names, labels, tuple(look.known[row].digest for row in chosen))
    deep = refuse_unclear_range([look.peak for look in known if look.peak is not None], bits)
    told = [*notes, *_notes(files, left_out, sum(look.frames for look in known))]
    missing = tuple(split for split in SPLITS if split not in files)
    if missing:
        whole = files["train"]
        parts = cut(whole, missing) if cut else _shares(whole, missing, classes, shares, seed)
        files |= {split: whole.take(indices) for split, indices in parts.items()}
    if files["train"].labels.ndim == 2:
        require_varied(files["train"].labels, classes, "the data")
    return Splits(classes, files, tuple(told), deep)


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


def _notes(files: Mapping[str, Files], left_out: Sequence[str], frames: int) -> list[str]:
    """What was left out, and copies across splits that are given."""
    notes = []
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
    return notes


def _shares(
    train: Files, missing: tuple[str, ...], classes: tuple[str, ...], shares: tuple[float, ...], seed: int
) -> dict[str, np.ndarray]:
    """Cut the missing splits from train, each in proportion to its share."""
    wanted = {s: shares[SPLITS.index(s)] for s in ("train", *missing)}
    whole = sum(wanted.values())
    several = train.labels.ndim == 2
    labels, of = (strata(train.labels), (*classes, NONE)) if several else (train.labels, classes)
    parts = divide(train.digests, labels.tolist(), [w / whole for w in wanted.values()], seed, of)
    return dict(zip(wanted, parts, strict=True))


def usual(size: tuple[int, int], channels: int, bits: int | None) -> Preprocessing:
    """The preprocessing of images whose network brings none: that of ImageNet.

    Args:
        size: (height, width); from `SMALL` on, the shorter side is resized to 8/7 of it and the centre is cropped.
        channels: 3, or 1 for grey.
        bits: of 16-bit images.
    """
    mean, std = (IMAGENET_MEAN, IMAGENET_STD) if channels == 3 else (GREY_MEAN, GREY_STD)
    plain = Preprocessing(size, mean, std, bits=bits)
    if min(size) < SMALL:
        return plain
    return dataclasses.replace(plain, resize=round(min(size) * 8 / 7), crop="rounded")  # 256 → 224


def open_files(
    name: str,
    found: Splits,
    *,
    preprocessing: Preprocessing,
    batch: int,
    augment: bool,
    flip: bool = True,
    stored: int | None = None,
) -> ImageDataset:
    """The data set of these files.

    Args:
        flip: whether images are mirrored where they are augmented.
        stored: side in pixels at which small images are kept in memory, when it is not `preprocessing.size`.

    Raises:
        Refusal: RCP0805, RCP0806: a small image cannot be read (large ones are read when they are needed).
    """
    size = (stored, stored) if stored else preprocessing.size
    if size != preprocessing.size:
        preprocessing = dataclasses.replace(preprocessing, via=size)
    images: dict[str, Images] = {}
    several = found.files["train"].labels.ndim == 2
    for split, f in found.files.items():
        labels = f.labels.astype(np.float32) if several else f.labels
        if min(size) < SMALL:
            kept = dataclasses.replace(preprocessing, size=size, resize=None, via=None)
            padding = (size[0] // 8, size[1] // 8) if augment else (0, 0)
            images[split] = ArrayImages(decoded(f, kept), labels, padding, flip=augment and flip)
        else:
            images[split] = FileImages(f.reader, f.names, labels, preprocessing, augment, flip)
    key = fingerprint(
        {split: f.identities() for split, f in found.files.items()},
        classes=found.classes,
        preprocessing={n: v for n, v in entries(preprocessing).items() if n != "via"},
        stored=min(size),
        augment=augment,
        batch=batch,
        **({"depth": DEPTH} if found.deep else {}),
        **({} if flip else {"flip": False}),
    )
    target = "labels" if several else "class"
    return ImageDataset(name, found.classes, preprocessing, key, batch, images, found.notes, target)


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
            image = open_image(files.reader.read(name), name, channels, preprocessing.bits)
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
