"""An exported network gives the same answers as the network that it came from."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision import models

import recipelang
from recipelang.catalogue import find
from recipelang.errors import Refusal
from recipelang.kinds import ModelRequest, Preprocessing
from recipelang.surgery.edits import RemoveLayer, apply_edits
from recipelang.surgery.network import Network
from recipelang.surgery.parity import relative_difference
from recipelang.surgery.tracing import evaluating


@pytest.fixture
def network() -> Network:
    built = find("model", "digits_resnet")().build(ModelRequest())
    smaller = apply_edits(built, [RemoveLayer("layer1.1", ("layer1.1",))])
    return replace(smaller, preprocessing=Preprocessing((8, 8), (0.3,), (0.4,)))


def export(name: str, network: Network, folder: Path) -> tuple[Path, ...]:
    return find("export", name)().write(network, folder)


def answer(module: nn.Module, images: Tensor) -> Tensor:
    with evaluating(module):
        return module(images)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")  # of torch.export, about itself
def test_pt2_runs_without_us_for_any_batch(network: Network, tmp_path: Path) -> None:
    (path,) = export("pt2", network, tmp_path / "deep" / "er")
    extra = {"recipelang.json": ""}
    program = torch.export.load(path, extra_files=extra)
    for batch in (1, 2, 7):
        images = torch.randn(batch, 1, 8, 8)
        assert relative_difference(program.module()(images), answer(network.module, images)) < 1e-4
    assert json.loads(extra["recipelang.json"])["classes"] == [str(k) for k in range(10)]
    assert json.loads(extra["recipelang.json"])["preprocessing"]["mean"] == [0.3]
    assert not any("batch_norm" in str(node.target) for node in program.graph.nodes)


@pytest.mark.parametrize(
    "module",
    [
        models.VisionTransformer(16, 8, 1, 2, 16, 16, num_classes=3),
        models.SwinTransformer([4, 4], 8, [2], [2], [2, 2], num_classes=3),
    ],
)
def test_pt2_of_transformers(module: nn.Module, tmp_path: Path) -> None:
    (path,) = export("pt2", Network(module, {}, (3, 16, 16)), tmp_path)
    assert path.is_file()


def test_a_network_that_cannot_be_traced_leaves_nothing_behind(tmp_path: Path) -> None:
    class Depends(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Any:
            x = x.flatten(1)
            return self.linear(x) if float(x.sum()) > 0 else self.linear(-x)

    with pytest.raises(Refusal) as caught:
        export("pt2", Network(Depends(), {}, (1, 2, 2)), tmp_path)
    assert caught.value.code == "RCP0716" and "safetensors" in caught.value.help
    assert list(tmp_path.iterdir()) == []


def test_code_that_fixes_the_batch_is_told_how_to_leave_it_open(tmp_path: Path) -> None:
    class Counts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear, self.token = nn.Linear(4, 2), nn.Parameter(torch.ones(1, 4))

        def forward(self, x: Tensor) -> Any:
            return self.linear(x.flatten(1) + self.token.expand(len(x), -1))

    with pytest.raises(Refusal, match="fixes how many images a batch has") as caught:
        export("pt2", Network(Counts(), {}, (1, 2, 2)), tmp_path)
    assert "`x.shape[0]` for `len(x)`" in caught.value.help and "safetensors" in caught.value.help


def test_safetensors_is_what_load_reads(network: Network, tmp_path: Path) -> None:
    files = export("safetensors", network, tmp_path)
    assert sorted(path.name for path in files) == sorted(path.name for path in tmp_path.iterdir())
    images = torch.randn(4, 1, 8, 8)
    assert relative_difference(recipelang.load(tmp_path)(images), answer(network.module, images)) < 1e-4
