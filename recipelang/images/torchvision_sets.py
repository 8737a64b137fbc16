"""The sets of torchvision.datasets, read by torchvision from its own files."""

from __future__ import annotations

import hashlib
import inspect
import io
import os
import warnings
from collections.abc import Sequence
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from recipelang.errors import Refusal
from recipelang.images.dataset import ImageDataset
from recipelang.images.decode import shown
from recipelang.images.files import SMALL, Listed, gather, open_files, usual
from recipelang.images.known_sets import SETS, Layout
from recipelang.images.readers import FolderReader, Reader, Stamp, file_stamp

_ABSENT = ("not found", "does not exist", "not present")  # torchvision's words for a set that is not there


@dataclass(frozen=True)
class SetReader:
    """The images of a set that torchvision has in memory, or decodes itself; each named by its number.

    Attributes:
        place, shown: see `Reader`.
        whole: torchvision's data set.
        stamped: of all its files.
    """

    place: str
    shown: str
    whole: Any
    stamped: tuple[int, ...]

    def stamp(self, name: str) -> Stamp:
        """See `Reader`."""
        return list(self.stamped)

    def read(self, name: str) -> bytes:
        """See `Reader`: the image as an uncompressed file."""
        image = self.whole[int(name.rpartition("/")[2])][0]
        file = io.BytesIO()
        image.convert("L" if image.mode in ("1", "L") else "RGB").save(file, "PPM")
        return file.getvalue()


def open_set(
    name: str,
    root: Path,
    *,
    variant: Any,
    size: tuple[int, int] | None,
    batch: int,
    split: tuple[float, ...],
    seed: int,
    augment: bool,
    channels: int | None,
    bits: int | None,
    skip: bool,
) -> ImageDataset:
    """A set of torchvision; see the card of `methods/data/torchvision.py`.

    Args:
        name: of the class in torchvision.datasets, one of `SETS`.
        root: the folder in which torchvision looks for it.
        variant: which form of the set; None is the default.
        size: None is that of the images where all are small, else 224.
        channels: None is that of the images.

    Raises:
        Refusal: RCP0857: the set is not there, or torchvision cannot read it; RCP0805 to RCP0808, RCP0820.
    """
    layout = SETS[name]
    wholes = {part: _opened(name, root, layout, how, variant) for part, how in layout.splits.items()}
    found = {part: _images(name, root, layout, part, whole) for part, whole in wholes.items()}
    if layout.target == "labels":
        classes = tuple(name for name in wholes["train"].attr_names if name)  # its header ends with a space
    else:
        classes = _classes(wholes["train"], [label for _, _, some in found.values() for label in some])
    listed = [Listed(reader, names, some, (part,) * len(names)) for part, (reader, names, some) in found.items()]
    files = gather(listed, classes, split, seed, skip=skip, bits=bits)
    first = files.files["train"]
    side, grey = _native(first.reader.read(first.names[0])) if isinstance(first.reader, SetReader) else (None, False)
    preprocessing = usual(size or (side, side) if side else size or (224, 224), channels or (1 if grey else 3), bits)
    stored = side if side and side < SMALL else None
    return open_files(
        name,
        files,
        preprocessing=preprocessing,
        batch=batch,
        augment=augment,
        flip=layout.mirrored,
        stored=stored,
    )


def _opened(name: str, root: Path, layout: Layout, how: Any, variant: Any) -> Any:
    """torchvision's data set of one split; nothing is downloaded.

    Raises:
        Refusal: RCP0857.
    """
    import torchvision.datasets

    from recipelang.images.fer2013 import Faces

    make = Faces if name == "FER2013" else getattr(torchvision.datasets, name)
    known = inspect.signature(make).parameters
    keywords = dict(how)
    if layout.variant:
        keywords[layout.variant] = layout.variants[0] if variant is None else variant
    if "loader" in known or name == "ImageNet":
        keywords["loader"] = _path_alone
    if "download" in known:
        keywords["download"] = False
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            return make(root, **keywords)
    except (KeyboardInterrupt, Refusal):
        raise
    except Exception as error:  # each set has errors of its own for files that are missing or damaged
        place = root / layout.folder if layout.folder else root
        why = (str(error).strip().splitlines() or [type(error).__name__])[0].partition(". ")[0][:200]
        absent = isinstance(error, FileNotFoundError) or any(word in why.lower() for word in _ABSENT)
        there = "is not in" if absent or not place.exists() else "cannot be read from"
        message = f"torchvision's {name} {there} `{shown(place)}`: {shown(why)}"
        raise Refusal("RCP0857", message, _help(name, root, layout, keywords)) from error


def _path_alone(path: Any) -> str:
    """Instead of decoding a file: which one it is."""
    return os.fspath(path)


def _help(name: str, root: Path, layout: Layout, keywords: Any) -> str:
    if not layout.downloads:
        return f"nothing is downloaded, and torchvision cannot either: its page on {name} says where the files are"
    need = f', {layout.variant}="{keywords[layout.variant]}"' if layout.variant == "split" else ""
    code = f"from torchvision.datasets import {name}; {name}('{shown(root)}'{need.replace(chr(34), chr(39))}"
    return f'nothing is downloaded; this does: python -c "{code}, download=True)"'


def _images(name: str, root: Path, layout: Layout, split: str, whole: Any) -> tuple[Reader, Sequence[str], list[Any]]:
    """Where the images of a split are, their names and labels: files wherever the set is made of files."""
    if (pairs := _files_of(whole)) is not None:
        paths = [os.path.abspath(path) for path, _ in pairs]
        below = os.path.join(os.path.commonpath([os.path.dirname(path) for path in paths]), "") if paths else ""
        reader: Reader = FolderReader(Path(below), f"{name} {split}")
        return reader, [path[len(below) :] for path in paths], [label for _, label in pairs]
    names = [f"{split}/{k}" for k in range(len(whole))]
    place = f"{os.path.abspath(root)}\0torchvision {name} {split}"
    return SetReader(place, f"{name} ({split})", whole, _stamped(root / layout.folder, whole)), names, _labels(whole)


def _files_of(whole: Any) -> list[tuple[str, Any]] | None:
    """(path, label, or labels) of each image of a set that is made of files; None of another."""
    if hasattr(whole, "attr_names"):  # of CelebA, which takes no loader
        folder = os.path.join(whole.root, whole.base_folder, "img_align_celeba")
        rows = map(tuple, whole.attr.tolist())
        return [(os.path.join(folder, name), row) for name, row in zip(whole.filename, rows, strict=True)]
    if len(whole) and isinstance(getattr(whole, "data", None), np.ndarray):
        return None
    own = getattr(whole, "_samples", None)  # of GTSRB, which takes no loader
    if own and isinstance(own[0][0], str | os.PathLike):
        return [(os.fspath(path), int(label)) for path, label in own]
    if hasattr(whole, "_images") and hasattr(whole, "_labels") and not hasattr(whole, "loader"):  # of OxfordIIITPet
        return [(os.fspath(p), int(k)) for p, k in zip(whole._images, whole._labels, strict=True)]
    with suppress(Exception):
        if len(whole) and isinstance(whole[0][0], str):
            return [(path, int(label)) for path, label in (whole[k] for k in range(len(whole)))]
    return None


def _labels(whole: Any) -> list[int]:
    for name in ("targets", "labels"):
        if (found := getattr(whole, name, None)) is not None and len(found) == len(whole):
            array = np.asarray(found)
            return [int(label) for label in (array[:, 0] if array.ndim == 2 else array)]
    return [int(whole[k][1]) for k in range(len(whole))]


def _stamped(folder: Path, whole: Any) -> tuple[int, ...]:
    """Three numbers that change with the images: of those in memory their bytes, else of the files they are in."""
    data, digest = getattr(whole, "data", None), hashlib.sha256()
    if data is not None:
        digest.update(repr(np.shape(data)).encode() + np.ascontiguousarray(data).tobytes())
    else:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            digest.update(os.fsencode(path) + repr(file_stamp(path)).encode())
    found = digest.digest()
    return (len(whole), int.from_bytes(found[:6], "big"), int.from_bytes(found[6:12], "big"))


def _classes(whole: Any, labels: Sequence[int]) -> tuple[str, ...]:
    """The names of the classes: torchvision's, where every label has one; else numbers."""
    most = max(labels, default=0) + 1
    if len(numbers := getattr(whole, "wnids", ())) >= most:
        return tuple(map(str, numbers))  # names of ImageNet are not unique
    given = getattr(whole, "classes", None) or getattr(whole, "categories", None) or ()
    names = tuple(str(name if isinstance(name, str) else ", ".join(name)) for name in given)
    return names if len(names) >= most and len(set(names)) == len(names) else tuple(map(str, range(max(most, 2))))


def _native(data: bytes) -> tuple[int | None, bool]:
    """The side of a square image, None of another; and whether it is grey."""
    image = Image.open(io.BytesIO(data))
    return image.width if image.width == image.height else None, image.mode == "L"
