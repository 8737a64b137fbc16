"""What all tests share: hypothesis without deadlines, and few threads, because machines differ and are shared."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

# Before torch is imported anywhere: several test processes on one machine must not take all cores each.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# A shell starts what it puts in the background deaf to Ctrl-C, and children inherit that; some tests press it.
signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("recipelang", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("recipelang")


@pytest.fixture(autouse=True)
def ctrl_c() -> None:
    """Every test hears Ctrl-C as Python does, whatever a library that an earlier one has loaded made of it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


# What several rooms share: stand-ins for a GPU, what `check` says of a text (`checked`), an editor (`talking`).
for room in ("kernels", "check", "editor"):
    sys.path.insert(0, str(Path(__file__).parent / room))


@pytest.fixture
def pretended_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., list[str]]:
    """`pretended_gpu(sparse=1.0)`: the CPU plays the part of a GPU; see `gpuless.pretended.arrange`."""
    from gpuless.pretended import arrange

    monkeypatch.setenv("RECIPELANG_CACHE", str(tmp_path / "cache"))
    return lambda *args, **kwargs: arrange(monkeypatch, *args, **kwargs)
