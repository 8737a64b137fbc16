"""Networks nobody prepared, and what the tests of allocations share."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from recipelang.kinds import Offer, Queue
from recipelang.surgery.network import Network

sys.path.insert(0, str(Path(__file__).parent))  # `strangers`
sys.path.insert(0, str(Path(__file__).parent.parent / "allocations"))  # `benches`

from strangers import copied


@pytest.fixture
def network_of() -> Callable[..., tuple[Network, list[Queue], dict[str, Offer]]]:
    """`network_of(name)`: a copy of the network, its queues and its offers."""
    return copied
