"""A folder of images becomes a data set: class folders to be divided, or train, val and test folders as they are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from recipelang.errors import Refusal
from recipelang.images.classes import alike, match
from recipelang.images.dataset import ImageDataset
from recipelang.images.decode import shown
from recipelang.images.files import Cut, Listed, Splits, gather, open_files, usual
from recipelang.images.readers import FolderReader
from recipelang.images.scan import ClassFolders, folder_at, scan_classes, subfolders
from recipelang.images.splits import SPLIT_NAMES


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
    listed = [_listed(folders, classes, split) for split, folders in found.items()]
    return gather(listed, classes, shares, seed, cut=cut, skip=skip, bits=bits, notes=_notes(found))


def _listed(found: ClassFolders, classes: tuple[str, ...], split: str) -> Listed:
    """The files of a split, each with the number of the training folder that is named like its own, ignoring case."""
    same = match(classes, found.classes)
    if same is None or same.how != "name":
        strange = next((c for c in found.classes if not match(classes, (c,))), found.classes[0])
        raise Refusal(
            "RCP0810",
            f"the class `{shown(strange)}` of `{split}` has no folder in `train`",
            "use the same class folders in every split",
        )
    labels = [same.outputs[label] for label in found.labels]
    return Listed(FolderReader(found.root), found.names, labels, (split,) * len(labels))


def _notes(found: Mapping[str, ClassFolders]) -> list[str]:
    ignored = sum(f.ignored for f in found.values())
    notes = [f"{ignored} file{'s' * (ignored != 1)} skipped: not images"] if ignored else []
    for one, other in alike(found["train"].classes):
        notes.append(f"the class folders `{shown(one)}` and `{shown(other)}` look alike and are two classes")
    return notes


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
    return open_files("folder", found, preprocessing=usual(size, channels, bits), batch=batch, augment=augment)
