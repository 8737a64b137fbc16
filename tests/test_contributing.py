"""What CONTRIBUTING.md says about adding a method is correct: its example is installed as a plugin and used."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

GUIDE = (Path(__file__).parent.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
EXAMPLE = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)[0]


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder on the path with the example as a package that declares an entry point, as pip would leave it."""
    (tmp_path / "my_package").mkdir()
    (tmp_path / "my_package" / "__init__.py").touch()
    (tmp_path / "my_package" / "spread.py").write_text(EXAMPLE, encoding="utf-8")
    info = tmp_path / "my_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 1.0\n")
    declared = re.findall(r'"(criterion\.spread)" = "(my_package\.spread:Spread)"', GUIDE)[0]
    (info / "entry_points.txt").write_text(f"[recipelang.methods]\n{declared[0]} = {declared[1]}\n")
    return tmp_path


def recipe(installed: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "recipelang.cli", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=installed,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(installed), os.environ.get("PYTHONPATH", "")])},
    )


def test_the_example_is_listed_explained_and_checked(installed: Path) -> None:
    assert "spread" in recipe(installed, "list", "criterion").stdout
    assert "only blurs" in recipe(installed, "explain", "spread").stdout
    right = recipe(installed, "check", "-e", "prune layers by spread(2) until latency < 0.7")
    assert (right.returncode, right.stderr) == (0, "")
    wrong = recipe(installed, "check", "-e", "prune layers by spread(3) until latency < 0.7")
    assert wrong.returncode == 1
    assert "order" in wrong.stderr


def test_the_example_scores_as_its_card_says(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(installed))
    spread = importlib.import_module("my_package.spread").Spread

    @dataclass
    class Weights:
        weights: dict[str, torch.Tensor]

    weights = Weights({"w": torch.tensor([[1.0, 3.0], [2.0, 2.0]])})
    assert spread().score(weights)["w"].tolist() == [[1.0, 1.0], [0.0, 0.0]]
    assert spread(order=2).score(Weights({"w": torch.tensor([[1.0, 5.0]])}))["w"].tolist() == [[4.0, 4.0]]
