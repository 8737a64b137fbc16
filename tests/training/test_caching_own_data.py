"""`cached` on a user's own data: the same training as without it, or a refusal that says why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import recipelang
from recipelang.check import check
from recipelang.errors import RecipeError
from recipelang.run import planning
from recipelang.run.engine import execute
from recipelang.run.options import Options
from recipelang.syntax.parse import parse
from tests.api.program import Net, Shades

DATA = """
import torch
from torch.utils.data import TensorDataset

def build(first=0, count=48, noise=0.0):
    images = torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(first))
    whole = TensorDataset(images + (torch.arange(count) % 2)[:, None, None, None] / 2, torch.arange(count) % 2)
    if noise:
        return Noisy(whole), whole, whole
    return whole, whole, whole

class Noisy:
    def __init__(self, whole):
        self.whole = whole
    def __len__(self):
        return len(self.whole)
    def __getitem__(self, k):
        image, label = self.whole[k]
        return image + torch.rand(()) / 10, label
"""
TEXT = (
    "model digits_resnet\ndata {data}\ntrain for 2 steps\nprune 2 layers by random\n"
    "distill from healthy for 2 epochs with kd{cached}\nmeasure top1\n"
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data.py").write_text(DATA)
    lines = ["path,label"]
    for k, image in enumerate(np.random.default_rng(0).integers(0, 256, (60, 8, 8), dtype=np.uint8)):
        Image.fromarray(image // 2 + 127 * (k % 2)).save(tmp_path / f"{k}.png")
        lines.append(f"{k}.png,{('dark', 'bright')[k % 2]}")
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def ran(folder: Path, data: str, cached: str, store: str = "store") -> tuple[bytes, str]:
    """The weights, and the record as text."""
    plan = check(parse(TEXT.format(data=data, cached=cached)))
    out = folder / f"out{len(list(folder.glob('out*')))}"
    result = execute(plan, Options(out=out, store=folder / store, threads=1, trust=True))
    assert result.exit_code == 0, result.diagnostics
    return (out / "main" / "model.safetensors").read_bytes(), json.dumps(result.report, ensure_ascii=False)


SOURCES = {
    "python": 'python("data.py:build", batch=16)',
    "csv": 'csv("labels.csv", size=8, channels=1, augment=none, batch=16)',
}


@pytest.mark.parametrize("name", SOURCES)
def test_the_network_has_the_same_bytes_with_and_without(folder: Path, name: str) -> None:
    plain, told = ran(folder, SOURCES[name], "")
    kept, said = ran(folder, SOURCES[name], ", cached")
    assert kept == plain
    assert "`cached`: the teachers answered about 48 samples in" in said and "saved about" in said + "took about"
    assert "`cached`: the teachers" not in told


def test_answers_about_other_data_are_not_used_again(folder: Path) -> None:
    first, _ = ran(folder, SOURCES["python"], ", cached")
    other = 'python("data.py:build", batch=16, first=1)'
    second, said = ran(folder, other, ", cached")
    assert second != first and "`cached`: the teachers answered about 48 samples in" in said
    assert second == ran(folder, other, "", store="another")[0]


@pytest.mark.parametrize(
    ("data", "help"),
    [
        ('python("data.py:build", noise=1)', "give `train` samples without random transforms: sample 0 has some"),
        ('csv("labels.csv", size=8, channels=1)', "write `data csv(augment=none)`"),
    ],
    ids=["python", "csv"],
)
def test_random_transforms_are_refused_by_plan(folder: Path, data: str, help: str) -> None:
    plan = check(parse(TEXT.format(data=data, cached=", cached")))
    with pytest.raises(RecipeError) as refused:
        planning.make(plan, Options(store=folder / "store", threads=1, trust=True), timed=False)
    assert [one.code for one in refused.value.diagnostics] == ["RCP1523"]
    assert refused.value.diagnostics[0].help.startswith(help)


class Noisy(Shades):
    def __getitem__(self, k: int) -> Any:
        image, label = super().__getitem__(k)
        return image + torch.rand(()) / 10, label


def test_data_that_a_program_gives(tmp_path: Path) -> None:
    model = Net()

    def weights(text: str, data: Any) -> tuple[bytes, str]:
        result = recipelang.run(
            f"train for 2 steps\nprune 1 layers by random\ndistill from healthy for 2 epochs with kd{text}",
            model=model,
            data=data,
            store=tmp_path / "store",
            out=tmp_path / f"out{len(list(tmp_path.glob('out*')))}",
            threads=1,
        )
        assert result.folder is not None
        return (result.folder / "main" / "model.safetensors").read_bytes(), json.dumps(
            result.record, ensure_ascii=False
        )

    data = {split: Shades(64, first) for split, first in (("train", 0), ("val", 100), ("test", 200))}
    plain, _ = weights("", data)
    kept, said = weights(", cached", data)
    assert kept == plain
    assert "`cached`: the teachers answered about 64 samples in" in said
    with pytest.raises(recipelang.RecipeError, match="`cached` keeps one answer about each training sample") as refused:
        weights(", cached", {**data, "train": Noisy(64)})
    assert "without random transforms" in str(refused.value)
