"""A home of the hub that is empty, and what opens data sets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recipelang.catalogue import find

Opens = Callable[..., Any]


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of the hub that is empty."""
    folder = tmp_path_factory.mktemp("hub")
    for name in ("HF_DATASETS_CACHE", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(folder))
    return folder


@pytest.fixture
def opens(tmp_path: Path) -> Opens:
    def made(where: str = "photos", **settings: Any) -> Any:
        how = settings if settings.get("text") else {"size": 16, **settings}
        return find("data", "huggingface")(where, **{"batch": 4, **how}).open(lambda name: tmp_path / name)  # type: ignore[misc]

    return made
