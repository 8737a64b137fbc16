"""What is kept of decoded images, and for how long."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest

from recipelang.images.cache import UNUSED, cached_array, free_arrays


def test_arrays_that_nothing_uses_are_freed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECIPELANG_CACHE", str(tmp_path))
    assert free_arrays() == 0
    for key in ("old", "used", "new"):
        cached_array(key, (3, 4), lambda: np.ones((3, 4), np.uint8))
    paths = {key: tmp_path / "arrays" / f"{key}.npy" for key in ("old", "used", "new")}
    long_ago = time.time() - (UNUSED + 1) * 24 * 3600
    for key in ("old", "used"):
        os.utime(paths[key], (long_ago, long_ago))
    assert cached_array("used", (3, 4), lambda: np.zeros((3, 4), np.uint8)).all()  # read, not computed
    size = paths["old"].stat().st_size
    assert free_arrays(dry_run=True) == size and paths["old"].exists()
    assert free_arrays() == size
    assert [key for key, path in paths.items() if path.exists()] == ["used", "new"]
    assert free_arrays(everything=True) == 2 * size and not any(path.exists() for path in paths.values())
