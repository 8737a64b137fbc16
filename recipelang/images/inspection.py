"""What is known about every image of a folder: its digest and its header; those that cannot be read."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from recipelang.errors import Refusal
from recipelang.images.access import current
from recipelang.images.cache import Digests, Known
from recipelang.images.decode import inspect, open_image, read_bytes, shown
from recipelang.images.scan import ClassFolders

CHUNK = 256  # files that a thread looks at before it returns them
MENTIONED = 5  # files that a message names


def look_at(found: ClassFolders, skip: bool = False) -> tuple[ClassFolders, tuple[Known, ...], tuple[str, ...]]:
    """Look at every image: SHA-256 of its bytes, and what its header says. A known file is not read again.

    Args:
        found: the images.
        skip: whether images that cannot be read are left out; all are then decoded completely, to find every one.

    Returns:
        the images that can be read, what is known about each, and the names of those left out.

    Raises:
        Refusal: RCP0805 files are damaged or not images; RCP0806 they are too large: the first few, and how many.
            RCP0803: no image of a class can be read.
    """
    digests = Digests(found.root)
    looks = _all(found, digests, skip)
    digests.save()
    bad = [(name, look) for name, look in zip(found.names, looks, strict=True) if isinstance(look, Refusal)]
    if not bad:
        return found, tuple(look for look in looks if isinstance(look, Known)), ()
    if not skip:
        raise unreadable(bad, len(found.names))
    kept = [i for i, look in enumerate(looks) if isinstance(look, Known)]
    left = dataclasses.replace(
        found, names=tuple(found.names[i] for i in kept), labels=tuple(found.labels[i] for i in kept)
    )
    there = set(left.labels)
    for label, name in enumerate(found.classes):
        if label not in there:
            raise Refusal(
                "RCP0803",
                f"no image of the class `{shown(name)}` can be read",
                "replace its files with intact copies, or remove the folder",
            )
    return left, tuple(look for look in looks if isinstance(look, Known)), tuple(name for name, _ in bad)


def _all(found: ClassFolders, digests: Digests, whole: bool) -> list[Known | Refusal]:
    """What is known about every file, in order: by several threads, some files at a time."""

    def some(first: int) -> list[tuple[os.stat_result | None, Known | Refusal]]:
        return [_one(found.root, name, digests, whole) for name in found.names[first : first + CHUNK]]

    looks: list[Known | Refusal] = []
    progress = current().progress if len(found.names) > CHUNK else None
    if progress:
        progress.start(f"looking at the images of `{shown(found.root.name)}`", len(found.names))
    try:
        with ThreadPoolExecutor(min(32, 4 * (os.cpu_count() or 1))) as pool:
            for rows in pool.map(some, range(0, len(found.names), CHUNK)):
                for status, look in rows:
                    if status is not None and isinstance(look, Known):
                        digests.put(found.names[len(looks)], status, look)
                    looks.append(look)
                if progress:
                    progress.advance(len(rows))
    finally:
        if progress:
            progress.stop()
    return looks


def _one(root: Path, name: str, digests: Digests, whole: bool) -> tuple[os.stat_result | None, Known | Refusal]:
    """What is known about a file, with its status if that is new."""
    try:
        status = os.stat(os.path.join(root, name))
        known = digests.get(name, status)
        if known is not None and known.whole >= whole:
            return None, known
        data = read_bytes(root / name, name)
        look = inspect(data, name)
        if whole:
            open_image(data, name)
        return status, Known(hashlib.sha256(data).digest(), look.frames, look.peak, whole)
    except Refusal as refusal:
        return None, refusal
    except OSError as error:
        return None, Refusal("RCP0805", f"the image `{shown(name)}` cannot be read: {error.strerror or error}")


def unreadable(bad: Sequence[tuple[str, Refusal]], total: int) -> Refusal:
    """One refusal for all the images that cannot be read.

    Args:
        bad: name and refusal of each, one or more.
        total: how many images there are.
    """
    skip = "write `unreadable=skip` to leave them out"
    if len(bad) == 1:
        only = bad[0][1]
        return Refusal(only.code, only.message, f"{only.help}; or {skip}" if only.help else skip)
    reasons: dict[str, list[str]] = {}
    for name, refusal in bad:
        why = refusal.message.partition(f"`{shown(name)}` ")[2].removeprefix("cannot be read: ") or refusal.message
        reasons.setdefault(why, []).append(name)
    told = [f"{names_of(names)} ({why})" for why, names in list(reasons.items())[:MENTIONED]]
    more = sum(map(len, list(reasons.values())[MENTIONED:]))
    code = "RCP0805" if any(refusal.code == "RCP0805" for _, refusal in bad) else "RCP0806"
    message = f"{len(bad)} of {total} images cannot be read: {'; '.join(told)}{f'; and {more} more' if more else ''}"
    return Refusal(code, message, f"{bad[0][1].help}; or {skip}")


def names_of(names: Sequence[str]) -> str:
    """The first few names of many: `` `a`, `b` and 3 more ``."""
    more = f" and {len(names) - MENTIONED} more" if len(names) > MENTIONED else ""
    return ", ".join(f"`{shown(name)}`" for name in names[:MENTIONED]) + more
