"""A program with a network and data of its own, in a folder of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.api.program import Net, Shades


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, empty."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def net() -> Net:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Net()


@pytest.fixture
def shades() -> Shades:
    return Shades()
