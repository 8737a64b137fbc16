"""What is kept of decoded images, and for how long."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest

from recipelang.images.cache import KEPT, UNUSED, Digests, Known, cached_array, free_unused


def test_arrays_that_nothing_uses_are_freed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECIPELANG_CACHE", str(tmp_path))
    assert free_unused() == 0
    for key in ("old", "used", "new"):
        cached_array(key, (3, 4), lambda: np.ones((3, 4), np.uint8))
    paths = {key: tmp_path / "arrays" / f"{key}.npy" for key in ("old", "used", "new")}
    long_ago = time.time() - (UNUSED + 1) * 24 * 3600
    for key in ("old", "used"):
        os.utime(paths[key], (long_ago, long_ago))
    assert cached_array("used", (3, 4), lambda: np.zeros((3, 4), np.uint8)).all()  # read, not computed
    size = paths["old"].stat().st_size
    assert free_unused(dry_run=True) == size and paths["old"].exists()
    assert free_unused() == size
    assert [key for key, path in paths.items() if path.exists()] == ["used", "new"]
    assert free_unused(everything=True) == 2 * size and not any(path.exists() for path in paths.values())


@pytest.mark.parametrize("folder", sorted(KEPT))
def test_every_folder_of_the_cache_is_freed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str) -> None:
    monkeypatch.setenv("RECIPELANG_CACHE", str(tmp_path))
    old, new = (tmp_path / folder / f"{name}{KEPT[folder][1:]}" for name in ("old", "new"))
    old.parent.mkdir()
    for path in (old, new):
        path.write_text("[]")
    other = tmp_path / folder / "other.txt"
    other.write_text("mine")
    long_ago = time.time() - (UNUSED + 1) * 24 * 3600
    for path in (old, other):
        os.utime(path, (long_ago, long_ago))
    assert free_unused(dry_run=True) == 2 and old.exists()
    assert free_unused() == 2
    assert not old.exists() and new.exists() and other.exists()


def test_what_is_known_of_images_is_kept_as_long_as_it_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECIPELANG_CACHE", str(tmp_path))
    known = Digests("photos")
    known.put("a.png", [1, 2, 3], Known(b"digest"))
    known.save()
    (file,) = (tmp_path / "digests").iterdir()
    long_ago = time.time() - (UNUSED + 1) * 24 * 3600
    os.utime(file, (long_ago, long_ago))
    assert Digests("photos").get("a.png", [1, 2, 3]) == Known(b"digest")
    assert free_unused() == 0 and file.exists()
