"""Which images are in a folder, of which class, and with which bytes. Nothing is decoded here."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from recipelang.errors import Refusal
from recipelang.images.access import current
from recipelang.images.decode import SUFFIXES, shown

MOST_VISITS = 100  # to one folder, by links
_NO_NOISE = frozenset({"thumbs.db", "desktop.ini"})  # files that file managers create are not worth a note


@dataclass(frozen=True)
class ClassFolders:
    """The images of a folder with one folder per class.

    Attributes:
        root: the folder.
        classes: names of the class folders, sorted.
        names: paths below `root`, sorted within each class, classes one after another.
        labels: class number of each name.
        ignored: how many files were skipped because they are not images.
    """

    root: Path
    classes: tuple[str, ...]
    names: tuple[str, ...]
    labels: tuple[int, ...]
    ignored: int


def folder_at(path: Path, what: str) -> Path:
    """`path`, if it is a folder.

    Raises:
        Refusal: RCP0801: it is missing, not a folder, or not readable.
    """
    if "\0" in str(path):
        raise Refusal("RCP0801", f"`{shown(path)}` is not the name of a folder", "a name cannot contain a NUL byte")
    help = f'write the folder as in `{what}("path/to/images")`, or name it under `data:` in recipe.yaml'
    try:
        if path.is_dir():
            os.scandir(path).close()
            return path
        there = path.exists()
    except OSError as error:
        raise Refusal("RCP0801", f"the folder `{shown(path)}` cannot be read: {error.strerror}", help) from error
    except ValueError as error:  # a name that the system does not accept, such as half a surrogate pair
        raise Refusal("RCP0801", f"`{shown(path)}` is not the name of a folder: {error}", help) from error
    state = "is not a folder" if there else "does not exist"
    raise Refusal("RCP0801", f"`{_brief(shown(path))}` {state}", help)


def _entries(folder: Path, root: Path) -> list[os.DirEntry[str]]:
    """The entries of a folder, sorted by name, hidden files left out.

    Raises:
        Refusal: RCP0801: the folder cannot be read; RCP0807: a link that is not to be followed leads out of the data,
            or to a folder.
    """
    try:
        with os.scandir(folder) as found:
            entries = sorted((e for e in found if not e.name.startswith(".")), key=lambda e: e.name)
        for entry in entries:
            if entry.is_symlink() and not current().follow_links:
                _refuse_link(entry, root)
    except OSError as error:
        where = shown(os.path.relpath(folder, root))
        raise Refusal(
            "RCP0801",
            f"the folder `{_brief(where)}` cannot be read: {error.strerror or error}",
            "make it readable, or remove it from the data",
        ) from error
    return entries


def _refuse_link(entry: os.DirEntry[str], root: Path) -> None:
    inside = Path(os.path.realpath(entry.path)).is_relative_to(os.path.realpath(root))
    if not inside or entry.is_dir():
        where = "out of the folder" if not inside else "to another folder in it"
        raise Refusal(
            "RCP0807",
            f"the link `{shown(os.path.relpath(entry.path, root))}` leads {where}",
            "copy the images, so that the folder holds the whole data set, or write `links: follow` in recipe.yaml",
        )


def _brief(path: str) -> str:
    return path if len(path) <= 120 else f"{path[:60]}…{path[-59:]}"


def subfolders(folder: Path) -> tuple[str, ...]:
    """Names of the folders in a folder, sorted, hidden ones left out."""
    return tuple(e.name for e in _entries(folder, folder) if e.is_dir())


def scan_classes(root: Path) -> ClassFolders:
    """Find the images of `root`, whose folders are the classes; folders inside a class are looked through.

    Raises:
        Refusal: RCP0802 images outside any class folder, or a class name that cannot be printed;
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


def scan_images(root: Path) -> ClassFolders:
    """Find all images of `root`, also in folders inside, as one class without a name.

    Raises:
        Refusal: RCP0803 there is none; RCP0807 a link leads out.
    """
    images, others = _walk(root, root, "")
    if not images:
        raise Refusal(
            "RCP0803",
            f"the folder `{shown(root)}` holds no image",
            f"put images there ({', '.join(sorted(SUFFIXES))})",
        )
    return ClassFolders(root, ("",), tuple(images), (0,) * len(images), others)


def _refuse_layout(root: Path, classes: tuple[str, ...], loose: list[str]) -> None:
    layout = "there is one folder per class: cats/1.jpg, dogs/1.jpg"
    if loose:
        raise Refusal("RCP0802", f"`{shown(loose[0])}` is not in a class folder, so it has no label", layout)
    if not classes:
        raise Refusal("RCP0803", f"the folder `{shown(root)}` holds no class folders and no images", layout)
    for name in classes:
        if not name.isprintable():
            raise Refusal("RCP0802", f"the class folder `{shown(name)}` has a name that cannot be printed", "rename it")
    if len(classes) == 1:
        raise Refusal(
            "RCP0804",
            f"`{shown(classes[0])}` is the only class in `{shown(root)}`, and one class leaves nothing to distinguish",
            layout,
        )


def _is_image(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in SUFFIXES


#: a folder to look through, the prefix of its images, and all folders above it and itself
_Place: TypeAlias = tuple[Path, str, tuple[tuple[int, int], ...]]


def _walk(folder: Path, root: Path, prefix: str) -> tuple[list[str], int]:
    """Paths of the images below a class folder, relative to `root` and sorted; how many other files."""
    images: list[str] = []
    others = 0
    waiting: list[_Place] = [(folder, prefix, (_identity(root), _identity(folder)))]
    visits: Counter[tuple[int, int]] = Counter()
    while waiting:
        place, before, above = waiting.pop()
        inner: list[_Place] = []
        for entry in _entries(place, root):
            if entry.is_dir():
                inside = (Path(entry.path), f"{before}{entry.name}/", (*above, _identity(Path(entry.path))))
                visits[inside[2][-1]] += 1
                _refuse_loop(inside[1], inside[2])
                _refuse_crowd(inside[1], visits[inside[2][-1]])
                inner.append(inside)
            elif entry.is_file() and _is_image(entry.name):
                images.append(before + entry.name)
            elif entry.name.lower() not in _NO_NOISE:
                others += 1
        waiting += reversed(inner)
    nested = any("/" in name[len(prefix) :] for name in images)  # without folders inside, they are sorted already
    return sorted(images, key=lambda name: name.split("/")) if nested else images, others


def _identity(folder: Path) -> tuple[int, int]:
    """What identifies a folder, whichever links lead to it."""
    try:
        status = os.stat(folder)
    except OSError:
        return (0, 0)  # reading it says what is wrong
    return status.st_dev, status.st_ino


def _refuse_loop(name: str, above: tuple[tuple[int, int], ...]) -> None:
    if above[-1] in above[:-1] and above[-1] != (0, 0):
        raise Refusal(
            "RCP0807",
            f"the link `{_brief(shown(name.rstrip('/')))}` leads back to a folder that contains it",
            "remove the link: the images would be found without end",
        )


def _refuse_crowd(name: str, visits: int) -> None:
    """Two links to a next folder, which has two to the next one, are found twice as often at every step."""
    if visits > MOST_VISITS:
        raise Refusal(
            "RCP0807",
            f"links lead to the folder `{_brief(shown(name.rstrip('/')))}` more than {MOST_VISITS} times",
            "remove links: the images in it would be found each time",
        )
