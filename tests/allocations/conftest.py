"""A small network, a small data set, and the bench of a search on them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recipelang.budgets.bench import Workbench
from recipelang.images.dataset import ImageDataset
from recipelang.surgery.network import Network

sys.path.insert(0, str(Path(__file__).parent))  # `benches`
sys.path.insert(0, str(Path(__file__).parents[1] / "criteria"))  # `coupled_networks`

from benches import bars, bench_of, plain


@pytest.fixture
def network() -> Network:
    return plain()


@pytest.fixture
def data() -> ImageDataset:
    return bars()


@pytest.fixture
def bench(network: Network, data: ImageDataset, tmp_path: Path) -> Callable[..., Workbench]:
    """`bench(until="latency < 0.7", clocks=…)`."""

    def made(given: Network = network, folder: Path = tmp_path, **how: Any) -> Workbench:
        return bench_of(given, data, folder, **how)

    return made
