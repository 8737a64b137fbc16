"""Makes `gpuless` importable, keeps what is compiled between runs, and puts the simulator in the place of a GPU."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs
import pytest

if TYPE_CHECKING:
    from gpuless.launch import Capability

sys.path.insert(0, str(Path(__file__).parent))
# Triton's own cache, keyed by source, options and version; an empty one only costs the time to compile.
os.environ.setdefault("TRITON_CACHE_DIR", str(platformdirs.user_cache_path("recipelang-tests") / "triton"))

# This process compiles; what is interpreted runs in processes of its own, which set this themselves.
os.environ.pop("TRITON_INTERPRET", None)


@pytest.fixture
def simulated(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`simulated((9, 0))`: from here on kernels are compiled for sm_90 and executed on the CPU.

    Further arguments are those of `gpuless.launch.launcher`.
    """

    def simulate(capability: Capability = (8, 0), **options: Callable) -> None:
        from gpuless.launch import launcher

        from recipelang.kernels.nm import launch

        monkeypatch.setattr(launch, "launch", launcher(capability, **options))

    return simulate
