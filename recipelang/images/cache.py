"""What one reading of a data set found out, kept on disk: digests of files, and small images decoded.

Everything here can be computed again: a cache that cannot be read or written costs only time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recipelang.files import atomic, cache_folder, used

if TYPE_CHECKING:
    import numpy as np

UNUSED = 30  # days after which what is kept is freed
DRAWN = "charts"  # folder of the charts of reports
#: folder of the cache → the files that are freed there: arrays of images, charts, what was found in images and shards,
#: answers of networks of libraries, times of layers, what an editor knows of networks
KEPT = {
    "arrays": "*.npy",
    **dict.fromkeys((DRAWN, "digests", "shards", "built", "times", "modules"), "*.json"),
}


def cached_array(key: str, shape: tuple[int, ...], compute: Callable[[], np.ndarray]) -> np.ndarray:
    """The uint8 array of this key, read from the cache or computed and kept there.

    Args:
        key: hex digest of everything that determines the array.
        shape: the expected shape; an array in a file of another shape or length is computed again.
        compute: computes the array.
    """
    import numpy as np  # here, so that `gc` starts without it

    path = cache_folder() / "arrays" / f"{key}.npy"
    with contextlib.suppress(OSError, ValueError, EOFError):
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        if array.shape == shape and array.dtype == np.uint8:
            used(path)
            return array
    array = compute()
    with contextlib.suppress(OSError), atomic(path) as file:
        np.save(file, array, allow_pickle=False)
    return array


def free_unused(*, everything: bool = False, dry_run: bool = False) -> int:
    """Remove the files of the cache that nothing has used for `UNUSED` days; their bytes. All can be computed again.

    Args:
        everything: also those used since.
        dry_run: only count.
    """
    oldest, freed = time.time() - UNUSED * 86_400, 0
    for path in (file for folder, names in KEPT.items() for file in (cache_folder() / folder).glob(names)):
        with contextlib.suppress(OSError):
            status = path.stat()
            if everything or status.st_mtime < oldest:
                if not dry_run:
                    path.unlink()
                freed += status.st_size
    return freed


@dataclass(frozen=True)
class Known:
    """What is known about an image file without reading it.

    Attributes:
        digest: SHA-256 of its bytes.
        frames: whether it has several frames.
        peak: largest sample of a 16-bit image that does not say how many bits it uses.
        whole: whether it was decoded to its end.
    """

    digest: bytes
    frames: bool = False
    peak: int | None = None
    whole: bool = False


class Digests:
    """What was found in the images of one place, keyed by (name, stamp).

    Args:
        place: a folder, for example (`readers.Reader`); each has its own file in the cache.
    """

    def __init__(self, place: str) -> None:
        where = hashlib.sha256(os.fsencode(place)).hexdigest()
        self._path = cache_folder() / "digests" / f"{where}.json"
        self._known: dict[str, list[object]] = {}
        with contextlib.suppress(OSError, ValueError):
            read = json.loads(self._path.read_text("utf-8"))
            self._known = read if isinstance(read, dict) else {}
            used(self._path)
        self._seen: dict[str, list[object]] = {}

    def get(self, name: str, stamp: list[int]) -> Known | None:
        """What is known about the file, if it has not changed since; else None."""
        key = ascii(name)
        entry: Any = self._known.get(key)
        try:
            *before, digest, frames, peak, whole = entry
            if before != stamp:
                return None
            known = Known(bytes.fromhex(digest), bool(frames), None if peak is None else int(peak), bool(whole))
        except (ValueError, TypeError):  # there is none, or an older version wrote it, which did not look as closely
            return None
        self._seen[key] = entry
        return known

    def put(self, name: str, stamp: list[int], known: Known) -> None:
        """Remember what was found in a file; a stamp is three numbers."""
        self._seen[ascii(name)] = [*stamp, known.digest.hex(), known.frames, known.peak, known.whole]

    def save(self) -> None:
        """Write what was seen; files that are gone are forgotten."""
        if self._seen != self._known:
            with contextlib.suppress(OSError), atomic(self._path) as file:
                file.write(json.dumps(self._seen).encode("ascii"))
