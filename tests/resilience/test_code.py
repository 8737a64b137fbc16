"""A network from a file and the modules beside it: the store knows them, and what it prints is out of the way."""

from __future__ import annotations

import json
from pathlib import Path

NET = """
def build(classes=10):
    from torch import nn
    from helper import Block
    print("building")
    return nn.Sequential(Block(), nn.Flatten(), nn.Linear(64, classes))
"""
HELPER = """
import torch
from torch import nn

class Block(nn.Module):
    def forward(self, x):
        return x.relu()
"""
RECIPE = 'model python("net.py:build")\ndata digits\ntrain for 2 steps\nmeasure params\n'


def test_a_changed_helper_runs_the_steps_again_and_an_unused_file_does_not(recipe, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    for name, text in (("net.py", NET), ("helper.py", HELPER), ("x.rcp", RECIPE)):
        (tmp_path / name).write_text(text)
    first = recipe("run", "x.rcp", "--trust", "--out", "one")
    assert first.code == 0, first.err
    assert "2 steps: 0 from the store" in first.err + first.out
    assert "building" not in first.out

    (tmp_path / "unused.py").write_text("x = 1\n")
    again = recipe("run", "x.rcp", "--trust", "--out", "two")
    assert "2 steps: 2 from the store" in again.err + again.out

    (tmp_path / "helper.py").write_text(HELPER.replace("x.relu()", "x.tanh()"))
    changed = recipe("run", "x.rcp", "--trust", "--out", "three")
    assert changed.code == 0, changed.err
    assert "2 steps: 0 from the store" in changed.err + changed.out
    sources = [
        json.loads((tmp_path / out / "main/model.json").read_text())["source"] for out in ("one", "two", "three")
    ]
    assert sources[0] == sources[1] and sources[0]["files"]["helper.py"] != sources[2]["files"]["helper.py"]
