"""`model onnx("net.onnx")`: attention and norms as exporters write them, in a form of which heads can be removed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from torch import nn

from recipelang.importing.reading import read_program
from recipelang.importing.settling import settled
from recipelang.surgery.candidates import look_for_layers
from recipelang.surgery.coupled import HEADS, NEURONS
from recipelang.surgery.removable import find_removable
from recipelang.surgery.tracing import example_input, hushed
from tests.importing.made import BODIES, FC, SHAPE, build, program


class Block(nn.Module):
    """Attention and an MLP, with attention of torch, which keeps tokens before images inside."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.LayerNorm(12), nn.LayerNorm(12)
        self.attention = nn.MultiheadAttention(12, 3, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(12, 20), nn.GELU(), nn.Linear(20, 12))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.first(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return x + self.mlp(self.second(x))


class Joined(Block):
    """The same with queries, keys and values from one layer, as in timm."""

    def __init__(self) -> None:
        super().__init__()
        self.attention, self.qkv, self.out = nn.Identity(), nn.Linear(12, 36), nn.Linear(12, 12)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = self.qkv(self.first(x)).reshape(len(x), -1, 3, 3, 4).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = nn.functional.scaled_dot_product_attention(*parts)
        x = x + self.out(mixed.transpose(1, 2).reshape(x.shape))
        return x + self.mlp(self.second(x))


class Vision(nn.Module):
    def __init__(self, block: type[Block]) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, 12, 2, stride=2)
        self.blocks = nn.Sequential(block(), block())
        self.head = nn.Linear(12, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.blocks(self.patches(x).flatten(2).transpose(1, 2)).mean(1))


def exported(file: Path, block: type[Block], dynamo: bool, batch: str = "any") -> None:
    torch.manual_seed(0)
    module, images = Vision(block).eval(), (torch.rand(2, 1, 8, 8),)
    how: dict[str, Any] = {"external_data": False, "verbose": False} if dynamo else {"input_names": ["x"]}
    if batch == "any":
        dynamic = {"dynamic_shapes": ({0: torch.export.Dim.DYNAMIC},)} if dynamo else {"dynamic_axes": {"x": {0: "b"}}}
        how |= dynamic
    with hushed():
        torch.onnx.export(module, images, file, dynamo=dynamo, **how)


@pytest.mark.parametrize(
    ("block", "dynamo", "batch"),
    [(Joined, True, "any"), (Joined, False, "two"), (Block, True, "any")],
    ids=["one layer", "one layer, a fixed batch", "torch's attention"],
)
def test_heads_neurons_and_layers_of_a_transformer_are_found(
    block: type[Block], dynamo: bool, batch: str, tmp_path: Path
) -> None:
    exported(tmp_path / "net.onnx", block, dynamo, batch)
    network = build(tmp_path / "net.onnx")
    kinds = [(group.kind, group.size) for group in find_removable(network).groups]
    assert sorted(kinds) == sorted([(HEADS, 3), (NEURONS, 20)] * 2)
    layers = look_for_layers(network.module, example_input(network)).layers
    assert len([layer for layer in layers if layer.branch]) == 4  # attention and MLP of both blocks


def test_heads_leave_in_a_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Heads, neurons and a branch go, the rest is trained, and the network loads without its file."""
    import recipelang
    from recipelang.surgery import artifact

    monkeypatch.chdir(tmp_path)
    exported(tmp_path / "net.onnx", Joined, dynamo=True)
    result = recipelang.run("""
        model onnx("net.onnx")
        data  digits(batch=64)
        train for 1 epoch with adamw(lr=1e-3)
        prune heads by magnitude until params < 0.9
        prune neurons by magnitude until params < 0.75
        prune 1 layer by random
        finetune for 1 epoch with adamw(lr=1e-3)
        measure params, top1
        """)
    (tmp_path / "net.onnx").unlink()
    saved = artifact.load(result.folder / "main")
    assert {edit.kind for edit in saved.edits} == {"remove_channels", "remove_layer"}
    rows = [layer.out_features for name, layer in saved.module.named_modules() if name.endswith("qkv")]
    assert min(rows) < 36 and all(row % 12 == 0 for row in rows)  # whole heads of 4 in each of q, k and v
    with torch.no_grad():
        assert saved.module(torch.rand(3, 1, 8, 8)).shape == (3, 10)


def operators(name: str, file: Path) -> list[str]:
    """The operators of a settled program."""
    body, weights = BODIES[name]
    path = program(file, body, {**FC, **weights})
    return [node.op_type for node in settled(read_program(path), SHAPE).graph.node]


def test_views_of_keys_a_mask_of_zeros_and_a_guard_against_its_rows_are_one_transposition(tmp_path: Path) -> None:
    found = operators("heads that see everything", tmp_path / "net.onnx")
    assert not {"IsNaN", "Where", "Add"} & set(found)
    assert found.count("Reshape") == 3 and found.count("Transpose") == 4


def test_a_mask_that_hides_keeps_its_guard(tmp_path: Path) -> None:
    body, weights = BODIES["heads that see everything"]
    hidden = numpy.triu(numpy.full((1, 1, 64, 64), -numpy.inf, numpy.float32), 1)
    body = body.replace("mask = ConstantOfShape(places) ", "")
    path = program(tmp_path / "net.onnx", body, {**weights, "mask": hidden})
    assert {"IsNaN", "Where", "Add"} <= {node.op_type for node in settled(read_program(path), SHAPE).graph.node}
    build(path)


def test_norms_of_groups_are_torchs(tmp_path: Path) -> None:
    body, weights = BODIES["groups that are normalised"]
    body = body.replace("p = Glob", "g = GroupNormalization<num_groups=2>(h, two.weight, two.bias) p = Glob")
    body = body.replace("Pool(h)", "Pool(g)")
    weights = {**FC, **weights, "two.weight": (4,), "two.bias": (4,)}
    network = build(program(tmp_path / "net.onnx", body, weights, opset=21))
    norms = {name: part for name, part in network.module.named_modules() if "Norm" in type(part).__name__}
    assert [type(part) for part in norms.values()].count(nn.GroupNorm) == 2
    assert {"i", "two"} <= norms.keys() and isinstance(norms["i"], nn.InstanceNorm2d)
    assert all(part.weight is not None and part.weight.requires_grad for part in norms.values())


def test_equal_rows_of_two_norms_that_an_exporter_joined(tmp_path: Path) -> None:
    """Both are trained, each with its own."""
    one = "v = Reshape(c, g) n = InstanceNormalization(v, o, z) b = Reshape(n, s) m = Mul(b, w) a = Add(m, w)"
    two = "k = Reshape(a, g) l = InstanceNormalization(k, o, z) d = Reshape(l, s) e = Mul(d, w) h = Add(e, w)"
    body = f"{BODIES['pools'][0].split(' a = ')[0]} s = Shape(c) {one} {two} "
    body += "p = GlobalAveragePool(h) f = Flatten(p) y = Gemm<transB=1>(f, fc.weight, fc.bias)"
    weights = {
        **FC,
        "c.weight": (4, 3, 3, 3),
        "g": numpy.array([0, 2, -1]),
        "o": numpy.ones(2, numpy.float32),
        "z": numpy.zeros(2, numpy.float32),
        "w": numpy.ones((4, 1, 1), numpy.float32),
    }
    module = build(program(tmp_path / "net.onnx", body, weights)).module
    norms = [part for part in module.modules() if isinstance(part, nn.GroupNorm)]
    assert len(norms) == 2 and norms[0].weight is not norms[1].weight
