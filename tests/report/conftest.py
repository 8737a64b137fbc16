"""Records to make reports from: a pruned network with its control, a sweep over seeds, and layers with their times."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # `held`
FIXTURES = Path(__file__).parent / "fixtures"
STATED = ("format", "kind", "verb", "role", "better", "unit")  # fields whose words mean something


def change_texts(value: Any, change: Any) -> Any:
    """The record with every free text, names and keys of metrics included, put through `change`."""
    if isinstance(value, dict):
        return {
            (change(k) if isinstance(v, dict) and "value" in v else k): v if k in STATED else change_texts(v, change)
            for k, v in value.items()
        }
    if isinstance(value, list):
        return [change_texts(v, change) for v in value]
    return change(value) if isinstance(value, str) else value


@pytest.fixture
def texts_changed() -> Any:
    """`change_texts`, for tests that plant something."""
    return change_texts


@pytest.fixture
def main_record() -> dict[str, Any]:
    """healthy, main and control of one run."""
    return json.loads((FIXTURES / "main.json").read_text("utf-8"))


@pytest.fixture
def study_record() -> dict[str, Any]:
    """Nine sweep points with three seeds each, three of them failed, one chosen, and a control."""
    return json.loads((FIXTURES / "study.json").read_text("utf-8"))


@pytest.fixture
def layers_record() -> dict[str, Any]:
    """Two variants with cost, validation, the form of every layer and a profile."""
    return json.loads((FIXTURES / "layers.json").read_text("utf-8"))
