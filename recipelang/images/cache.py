"""What reading a data set once tells, kept on disk: digests of files, and small images decoded.

Everything here can be computed again: a cache that cannot be read or written costs time and nothing else.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import platformdirs

from recipelang.files import atomic


def cache_folder() -> Path:
    """`$RECIPELANG_CACHE`, else the user's cache folder; a user without a home has one among the temporary files."""
    chosen = os.environ.get("RECIPELANG_CACHE")
    folder = Path(chosen or platformdirs.user_cache_dir("recipelang"))
    return folder if chosen or folder.is_absolute() else Path(tempfile.gettempdir()) / f"recipelang-{os.getuid()}"


def cached_array(key: str, shape: tuple[int, ...], compute: Callable[[], np.ndarray]) -> np.ndarray:
    """The uint8 array of this key, read from the cache or computed and kept there.

    Args:
        key: hex digest of everything that decides the array.
        shape: what it must have; a file of another shape or length is computed anew.
        compute: gives the array.
    """
    path = cache_folder() / "arrays" / f"{key}.npy"
    with contextlib.suppress(OSError, ValueError, EOFError):
        array = np.load(path, mmap_mode="r", allow_pickle=False)
        if array.shape == shape and array.dtype == np.uint8:
            return array
    array = compute()
    with contextlib.suppress(OSError), atomic(path) as file:
        np.save(file, array, allow_pickle=False)
    return array


class Digests:
    """SHA-256 of the files under a folder, remembered by (name, size, time of change).

    Args:
        root: the folder; each has a file of its own in the cache.
    """

    def __init__(self, root: Path) -> None:
        where = hashlib.sha256(os.fsencode(root.resolve())).hexdigest()
        self._path = cache_folder() / "digests" / f"{where}.json"
        self._known: dict[str, list[object]] = {}
        with contextlib.suppress(OSError, ValueError):
            read = json.loads(self._path.read_text("utf-8"))
            self._known = read if isinstance(read, dict) else {}
        self._seen: dict[str, list[object]] = {}

    def get(self, name: str, status: os.stat_result) -> bytes | None:
        """The digest of the file, where it is known and the file has not changed since."""
        entry = self._known.get(ascii(name))
        if not (isinstance(entry, list) and entry[:2] == [status.st_size, status.st_mtime_ns]):
            return None
        self._seen[ascii(name)] = entry
        with contextlib.suppress(ValueError, TypeError, IndexError):
            return bytes.fromhex(str(entry[2]))
        return None

    def put(self, name: str, status: os.stat_result, digest: bytes) -> None:
        """Remember the digest of a file."""
        self._seen[ascii(name)] = [status.st_size, status.st_mtime_ns, digest.hex()]

    def save(self) -> None:
        """Write what was seen; files that are gone are forgotten."""
        if self._seen != self._known:
            with contextlib.suppress(OSError), atomic(self._path) as file:
                file.write(json.dumps(self._seen).encode("ascii"))
