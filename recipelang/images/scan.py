"""Which images lie in a folder, of which class, and with which bytes. Nothing is decoded here."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from recipelang.errors import Refusal
from recipelang.images.cache import Digests
from recipelang.images.decode import SUFFIXES, inspect, read_bytes, shown

_NO_NOISE = frozenset({"thumbs.db", "desktop.ini"})  # what file managers leave behind is not worth a word


@dataclass(frozen=True)
class ClassFolders:
    """The images of a folder with one folder per class.

    Attributes:
        root: the folder.
        classes: names of the class folders, sorted.
        names: paths below `root`, sorted within each class, classes one after another.
        labels: class number of each name.
        ignored: how many files were passed over since they are no images.
    """

    root: Path
    classes: tuple[str, ...]
    names: tuple[str, ...]
    labels: tuple[int, ...]
    ignored: int


def folder_at(path: Path, what: str) -> Path:
    """`path`, if it is a folder.

    Raises:
        Refusal: RCP0801: it is missing, no folder, or may not be read.
    """
    help = f'write the folder as in `{what}("path/to/images")`, or name it under `data:` in recipe.yaml'
    try:
        if path.is_dir():
            os.scandir(path).close()
            return path
    except OSError as error:
        raise Refusal("RCP0801", f"the folder `{shown(path)}` cannot be read: {error.strerror}", help) from error
    state = "is no folder" if path.exists() else "does not exist"
    raise Refusal("RCP0801", f"`{shown(path)}` {state}", help)


def _entries(folder: Path, root: Path) -> list[os.DirEntry[str]]:
    """What lies in a folder, sorted by name, hidden files left out.

    Raises:
        Refusal: RCP0807: a link leads out of the data, or to a folder.
    """
    with os.scandir(folder) as found:
        entries = sorted((e for e in found if not e.name.startswith(".")), key=lambda e: e.name)
    for entry in entries:
        if entry.is_symlink():
            inside = Path(entry.path).resolve().is_relative_to(root.resolve())
            if not inside or entry.is_dir():
                where = "out of the folder" if not inside else "to another folder in it"
                raise Refusal(
                    "RCP0807",
                    f"the link `{shown(os.path.relpath(entry.path, root))}` leads {where}",
                    "copy the images, so that the data set is what lies in its folder",
                )
    return entries


def subfolders(folder: Path) -> tuple[str, ...]:
    """Names of the folders in a folder, sorted, hidden ones left out."""
    return tuple(e.name for e in _entries(folder, folder) if e.is_dir())


def scan_classes(root: Path) -> ClassFolders:
    """Find the images of `root`, whose folders are the classes; folders inside a class are looked through.

    Raises:
        Refusal: RCP0802 images that lie in no class folder, or a class name that cannot be printed;
            RCP0803 no images at all, or a class without any; RCP0804 one class only; RCP0807 a link leads out.
    """
    top = _entries(root, root)
    classes = tuple(e.name for e in top if e.is_dir())
    loose = [e.name for e in top if not e.is_dir()]
    _refuse_layout(root, classes, [n for n in loose if _is_image(n)])
    names: list[str] = []
    labels: list[int] = []
    ignored = len([n for n in loose if n.lower() not in _NO_NOISE])
    for label, name in enumerate(classes):
        images, others = _walk(root / name, root, f"{name}/")
        if not images:
            raise Refusal(
                "RCP0803",
                f"the class folder `{shown(name)}` holds no image",
                f"put images there ({', '.join(sorted(SUFFIXES))}), or remove the folder",
            )
        names += images
        labels += [label] * len(images)
        ignored += others
    return ClassFolders(root, classes, tuple(names), tuple(labels), ignored)


def _refuse_layout(root: Path, classes: tuple[str, ...], loose: list[str]) -> None:
    layout = "images lie in one folder per class: cats/1.jpg, dogs/1.jpg"
    if loose:
        raise Refusal("RCP0802", f"`{shown(loose[0])}` lies in no class folder, so it has no label", layout)
    if not classes:
        raise Refusal("RCP0803", f"the folder `{shown(root)}` holds no class folders and no images", layout)
    for name in classes:
        if not name.isprintable():
            raise Refusal("RCP0802", f"the class folder `{shown(name)}` has a name that cannot be printed", "rename it")
    if len(classes) == 1:
        raise Refusal(
            "RCP0804",
            f"`{shown(classes[0])}` is the only class in `{shown(root)}`, and one class leaves nothing to tell apart",
            layout,
        )


def _is_image(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in SUFFIXES


def _walk(folder: Path, root: Path, prefix: str) -> tuple[list[str], int]:
    """Paths of the images below a class folder, relative to `root` and sorted; how many other files."""
    images: list[str] = []
    others = 0
    for entry in _entries(folder, root):
        if entry.is_dir():
            more, rest = _walk(Path(entry.path), root, f"{prefix}{entry.name}/")
            images += more
            others += rest
        elif entry.is_file() and _is_image(entry.name):
            images.append(prefix + entry.name)
        elif entry.name.lower() not in _NO_NOISE:
            others += 1
    return images, others


def digest_files(folders: ClassFolders) -> tuple[bytes, ...]:
    """SHA-256 of every image's bytes; a file that is new or has changed is also looked at.

    Raises:
        Refusal: RCP0805 a file is damaged or no image; RCP0806 it is too large.
    """
    known = Digests(folders.root)
    statuses = [os.stat(os.path.join(folders.root, name)) for name in folders.names]
    digests = [known.get(name, status) for name, status in zip(folders.names, statuses, strict=True)]

    def digest(index: int) -> bytes:
        name = folders.names[index]
        data = read_bytes(folders.root / name, name)
        inspect(data, name)
        return hashlib.sha256(data).digest()

    new = [i for i, found in enumerate(digests) if found is None]
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for i, found in zip(new, pool.map(digest, new), strict=True):
            digests[i] = found
            known.put(folders.names[i], statuses[i], found)
    known.save()
    return tuple(d for d in digests if d is not None)
