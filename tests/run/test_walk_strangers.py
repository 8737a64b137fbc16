"""A network that a stranger wrote goes through every stage: what it freezes stays, and what was found is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import recipelang
from recipelang.errors import StepFailed

CODE = """
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width)

    def forward(self, x):
        return x + F.relu(self.norm(self.conv(x)))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3, padding=1).requires_grad_(False)
        self.place = nn.Parameter(torch.sin(torch.arange(64.0)).view(8, 8), requires_grad=False)
        self.index = nn.Parameter(torch.arange(8).flip(0), requires_grad=False)
        self.blocks = nn.ModuleList(Block(8) for _ in range(2))
        self.fixed = nn.Linear(8, 8).requires_grad_(False)
        self.head = nn.Linear(8, 7)

    def forward(self, x):
        x = self.stem(x.mul_(0.5).add_(0.5)) + self.place
        for block in self.blocks:
            x = block(x)
        f = self.fixed(x.mean((2, 3))[:, self.index])
        return {"features": f, "logits": self.head(F.relu(f))}


def build():
    return nn.DataParallel(nn.SyncBatchNorm.convert_sync_batchnorm(Net()))


class Shuffled(Net):
    def __init__(self):
        super().__init__()
        self.order = np.random.permutation(8)

    def forward(self, x):
        return super().forward(x[:, :, self.order].clone())


class Pairs(Net):
    def forward(self, x):
        assert self.training or len(x) <= 2, "two images at most"
        return super().forward(x)
"""
RECIPE = """
model python("net.py:build")
data digits
train for 1 epoch
prune 1 layer by taylor
sparsify nm 2:4
distill from healthy for 1 epoch with kd(T=4)
recalibrate
measure top1, params
export safetensors, pt2
"""
FROZEN = ("stem.weight", "stem.bias", "place", "index", "fixed.weight", "fixed.bias")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(CODE)
    return tmp_path


def test_what_a_network_freezes_stays_through_every_stage(folder: Path, lab: Any) -> None:
    foreseen = lab.plan(RECIPE, trust=True, store=folder / "store").rows[0]
    done = lab.run(RECIPE, trust=True, store=folder / "store")
    places = [*folder.rglob("model.safetensors"), *Path(done.folder).rglob("model.safetensors")]
    found = [load_file(path) for path in places]  # of every step, from the network as built on
    assert len(found) >= 8 and all(torch.equal(state[name], found[0][name]) for state in found for name in FROZEN)
    assert torch.equal(found[0]["place"], torch.sin(torch.arange(64.0)).view(8, 8))
    assert found[0]["index"].tolist() == list(range(8))[::-1]
    note = done.steps("healthy", "model")[0]["note"]
    assert foreseen.details == (note,) and any(note in line for line in done.said)
    assert "`DataParallel` is removed" in note
    assert "the head `head` of 7 outputs is replaced with a new one of 10, which needs training" in note
    program = torch.export.load(Path(done.folder) / "main/export/model.pt2").module()
    images = torch.rand(3, 1, 8, 8)
    given = images.clone()
    answer = program(images)
    assert torch.equal(images, given)
    assert torch.allclose(recipelang.load(done.folder / "main", trust=True)(images), answer, atol=1e-5)


def test_what_is_not_in_its_state_is_refused_at_the_line_of_the_model(folder: Path, lab: Any) -> None:
    with pytest.raises(StepFailed) as caught:
        lab.run(RECIPE.replace("net.py:build", "net.py:Shuffled"), trust=True)
    (problem,) = caught.value.diagnostics
    assert problem.code == "RCP0723" and "`order`" in problem.message and problem.span and problem.span.line == 2


def test_what_a_network_raises_is_refused_at_the_line_of_the_step(folder: Path, lab: Any) -> None:
    text = RECIPE.replace("net.py:build", "net.py:Pairs")
    plan = lab.plan(text, trust=True, store=folder / "store")
    assert not plan.problems, "an estimate that cannot be made refuses nothing"
    (problem,) = lab.run(text, trust=True, store=folder / "store").result.diagnostics
    assert problem.code == "RCP0733" and problem.span and problem.span.line == 5
    assert "of `net.py`: AssertionError: two images at most" in problem.message and "`prune`" in problem.message
