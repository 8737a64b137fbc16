"""What is known about every image of a data set: its digest and its header; those that cannot be read."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import repeat

from recipelang.errors import Refusal
from recipelang.images.access import current
from recipelang.images.cache import Digests, Known
from recipelang.images.decode import inspect, open_image, shown
from recipelang.images.readers import Reader, Stamp

CHUNK = 256  # files that a thread looks at before it returns them
MENTIONED = 5  # files that a message names


@dataclass(frozen=True)
class Looked:
    """What a look at images showed.

    Attributes:
        kept: the positions of the images that can be read, sorted.
        known: what is known about each of these.
        left_out: the names of the others.
    """

    kept: tuple[int, ...]
    known: tuple[Known, ...]
    left_out: tuple[str, ...] = ()


def look_at(reader: Reader, names: Sequence[str], skip: bool = False, stamps: Sequence[Stamp] = ()) -> Looked:
    """Look at every image: SHA-256 of its bytes, and what its header says. A known one is not read again.

    Args:
        names: of the images.
        skip: whether images that cannot be read are left out; all are then decoded completely, to find every one.
        stamps: of each image, where the reader has been asked already.

    Raises:
        Refusal: RCP0805 files are damaged or not images; RCP0806 they are too large: the first few, and how many.
    """
    digests = Digests(reader.place)
    looks = _all(reader, names, digests, skip, stamps)
    digests.save()
    bad = [(name, look) for name, look in zip(names, looks, strict=True) if isinstance(look, Refusal)]
    if bad and not skip:
        raise unreadable(bad, len(names))
    kept = tuple(i for i, look in enumerate(looks) if isinstance(look, Known))
    return Looked(kept, tuple(look for look in looks if isinstance(look, Known)), tuple(name for name, _ in bad))


def require_classes(before: Set[int], kept: Set[int], classes: Sequence[str]) -> None:
    """Refuse to leave out all images of a class.

    Args:
        before, kept: the classes of all images, and of those that can be read.
        classes: their names.

    Raises:
        Refusal: RCP0803.
    """
    if gone := sorted(before - kept):
        raise Refusal(
            "RCP0803",
            f"no image of the class `{shown(classes[gone[0]])}` can be read",
            "replace its files with intact copies, or remove the class",
        )


def _all(
    reader: Reader, names: Sequence[str], digests: Digests, whole: bool, stamps: Sequence[Stamp]
) -> list[Known | Refusal]:
    """What is known about every file, in order: by several threads, some files at a time."""

    def some(first: int) -> list[tuple[Stamp | None, Known | Refusal]]:
        known = stamps[first : first + CHUNK] or repeat(None)
        return [
            _one(reader, name, stamp, digests, whole)
            for name, stamp in zip(names[first : first + CHUNK], known, strict=False)
        ]

    looks: list[Known | Refusal] = []
    progress = current().progress if len(names) > CHUNK else None
    if progress:
        progress.start(f"looking at the images of `{shown(reader.shown)}`", len(names))
    try:
        with ThreadPoolExecutor(min(32, 4 * (os.cpu_count() or 1))) as pool:
            for rows in pool.map(some, range(0, len(names), CHUNK)):
                for stamp, look in rows:
                    if stamp is not None and isinstance(look, Known):
                        digests.put(names[len(looks)], stamp, look)
                    looks.append(look)
                if progress:
                    progress.advance(len(rows))
    finally:
        if progress:
            progress.stop()
    return looks


def _one(
    reader: Reader, name: str, stamp: Stamp | None, digests: Digests, whole: bool
) -> tuple[Stamp | None, Known | Refusal]:
    """What is known about a file, with its stamp if that is new."""
    try:
        stamp = stamp or reader.stamp(name)
        known = digests.get(name, stamp)
        if known is not None and known.whole >= whole:
            return None, known
        data = reader.read(name)
        look = inspect(data, name)
        if whole:
            open_image(data, name)
        return stamp, Known(hashlib.sha256(data).digest(), look.frames, look.peak, whole)
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
