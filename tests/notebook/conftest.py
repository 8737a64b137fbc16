"""A session of IPython in a folder of its own, with the extension loaded."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("IPython", reason="needs the extra `jupyter`")

from IPython.core.interactiveshell import InteractiveShell


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[InteractiveShell]:
    """`shell.run_cell(text)` runs a cell as a notebook would."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    shell: Any = InteractiveShell()
    shell.history_manager.enabled = False
    shell.run_cell("%load_ext recipelang")
    yield shell
    shell.history_manager.end_session()
