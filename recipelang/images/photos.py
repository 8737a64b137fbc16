"""A folder of images becomes pairs for super-resolution."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from recipelang.errors import Refusal
from recipelang.images.dataset import fingerprint
from recipelang.images.decode import read_bytes, shown, size_of
from recipelang.images.files import refuse_unclear_range
from recipelang.images.inspection import look_at, names_of
from recipelang.images.pairs import FileWholes, PairDataset, Wholes, plain
from recipelang.images.readers import FolderReader
from recipelang.images.scan import folder_at, scan_images, subfolders
from recipelang.images.splits import SPLIT_NAMES, SPLITS, divide


@dataclass(frozen=True)
class _Files:
    """Paths below `root` and SHA-256 of the bytes."""

    root: Path
    names: tuple[str, ...]
    digests: tuple[bytes, ...]

    def take(self, indices: Iterable[int]) -> _Files:
        chosen = [int(i) for i in indices]
        return _Files(self.root, tuple(self.names[i] for i in chosen), tuple(self.digests[i] for i in chosen))


def open_photos(
    root: Path,
    *,
    scale: int,
    crop: int,
    batch: int,
    split: tuple[float, ...],
    seed: int,
    augment: bool,
    channels: int,
    bits: int | None,
) -> PairDataset:
    """The pairs of a folder; see the card of `methods/data/images.py`.

    Raises:
        Refusal: RCP0801, RCP0803, RCP0805 to RCP0808, RCP0820, RCP0842.
    """
    root = folder_at(root, "images")
    files, notes = _splits(root, split, seed, bits)
    wholes: dict[str, Wholes] = {}
    for name, some in files.items():
        sizes = _sizes(some)
        least = crop if name == "train" else scale
        small = [n for n, size in zip(some.names, sizes, strict=True) if min(size) < least]
        if small:
            raise _too_small(small, least, name, crop, scale)
        wholes[name] = FileWholes(some.root, some.names, sizes, channels, bits)
    identities = {
        name: [
            hashlib.sha256(os.fsencode(file) + b"\0" + digest).digest()
            for file, digest in zip(f.names, f.digests, strict=True)
        ]
        for name, f in files.items()
    }
    key = fingerprint(
        identities, scale=scale, crop=crop, batch=batch, augment=augment, channels=channels, bits=bits, pairs=1
    )
    return PairDataset("images", plain(channels, crop // scale), key, batch, wholes, scale, crop, augment, notes)


def _splits(
    root: Path, shares: tuple[float, ...], seed: int, bits: int | None
) -> tuple[dict[str, _Files], tuple[str, ...]]:
    """The files of each split, and notes."""
    names = subfolders(root)
    roles = {SPLIT_NAMES[n.lower()]: n for n in names if n.lower() in SPLIT_NAMES}
    given = "train" in roles and len(roles) == len(names)
    found = {s: scan_images(root / folder) for s, folder in roles.items()} if given else {"train": scan_images(root)}
    files, notes, peaks = {}, [], []
    for split, folder in found.items():
        known = look_at(FolderReader(folder.root), folder.names).known
        peaks += [look.peak for look in known if look.peak is not None]
        files[split] = _Files(folder.root, folder.names, tuple(look.digest for look in known))
    refuse_unclear_range(peaks, bits)
    ignored = sum(folder.ignored for folder in found.values())
    notes += [f"{ignored} file{'s' * (ignored != 1)} skipped: not images"] if ignored else []
    missing = [s for s in SPLITS if s not in files]
    if missing:
        files |= _cut(files["train"], ("train", *missing), shares, seed)
    known_bytes = set(files["train"].digests)
    for split in ("val", "test"):
        shared = sum(digest in known_bytes for digest in files[split].digests)
        if shared:
            notes.append(f"{shared} of the {len(files[split].names)} images of `{split}` are also in `train`")
    return {split: files[split] for split in SPLITS}, tuple(notes)


def _cut(whole: _Files, splits: tuple[str, ...], shares: tuple[float, ...], seed: int) -> dict[str, _Files]:
    """Divide files among splits, each in proportion to its share."""
    wanted = [shares[SPLITS.index(split)] for split in splits]
    total = sum(wanted)
    try:
        parts = divide(whole.digests, [0] * len(whole.digests), [w / (total or 1) for w in wanted], seed, ("images",))
    except Refusal as refusal:
        count = len(set(whole.digests))
        raise Refusal(
            refusal.code,
            f"the folder has {count} different image{'s' * (count != 1)}, too few to give every split one",
            "add images, or give a split the share 0%",
        ) from refusal
    return {split: whole.take(part) for split, part in zip(splits, parts, strict=True)}


def _sizes(files: _Files) -> tuple[tuple[int, int], ...]:
    """(height, width) of each image, upright, from its header."""

    def one(name: str) -> tuple[int, int]:
        return size_of(io.BytesIO(read_bytes(files.root / name, name)), name)

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        return tuple(pool.map(one, files.names))


def _too_small(names: Sequence[str], least: int, split: str, crop: int, scale: int) -> Refusal:
    images = f"{len(names)} image{'s' * (len(names) != 1)} of `{split}`"
    are, what = ("is" if len(names) == 1 else "are"), f"{least}×{least} pixels"
    help = f"write a smaller `crop=`, divisible by {scale}, or remove the images" if split == "train" else "remove them"
    return Refusal("RCP0842", f"{images} {are} smaller than {what}: {names_of([shown(n) for n in names])}", help)
