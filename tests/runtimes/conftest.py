"""Networks to execute."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from recipelang.catalogue import find
from recipelang.kinds import ModelRequest, Preprocessing
from recipelang.surgery.network import Network

sys.path.insert(0, str(Path(__file__).parent))  # `residual_block`


@pytest.fixture
def digits() -> Network:
    """The embedded network, trained, with preprocessing."""
    built: Network = find("model", "digits_resnet")().build(ModelRequest())  # type: ignore[misc]
    return replace(built, preprocessing=Preprocessing((8, 8), (0.3,), (0.4,)))
