"""Python files of networks in a folder of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from recipelang.surgery import source


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, str]], Path]:
    """`write({name: text})`: the folder of these files, in which the test is; no code counts as seen before."""
    monkeypatch.setattr(source, "_seen", {})
    monkeypatch.chdir(tmp_path)

    def files(texts: dict[str, str]) -> Path:
        for name, text in texts.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        return tmp_path

    return files
