"""Linear layers in onnxruntime's own operations, against the simulated network and against integers by hand."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy
import pytest
import torch
from torch import Tensor, nn

from recipelang.kinds import Deployment, Scheme
from recipelang.runtimes.onnx_compared import distance
from recipelang.runtimes.onnx_executable import prepare
from recipelang.runtimes.onnx_linear import container
from recipelang.runtimes.onnx_program import as_bytes, onnx_program
from recipelang.runtimes.onnx_reading import reading
from recipelang.runtimes.onnx_session import Session
from recipelang.surgery.deployed import deployed
from recipelang.surgery.network import Network
from recipelang.surgery.restrictions.dynamic import Dynamic
from recipelang.surgery.restrictions.grid import Grid, grouped

onnx = pytest.importorskip("onnx", reason='needs pip install "recipelang[onnxruntime]"')
pytest.importorskip("onnxruntime", reason='needs pip install "recipelang[onnxruntime]"')


class Tokens(nn.Module):
    """Linear layers of three and of two axes, with and without bias, one of them read twice."""

    def __init__(self, wide: int = 64) -> None:
        super().__init__()
        self.norm, self.up = nn.LayerNorm(wide), nn.Linear(wide, 96)
        self.down, self.head = nn.Linear(96, wide, bias=False), nn.Linear(wide, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(2).transpose(1, 2)  # B×C×H×W → tokens of C
        for _ in range(2):
            x = x + self.down(nn.functional.gelu(self.up(self.norm(x))))
        return self.head(x.mean(1))


def tokens(wide: int = 64) -> Network:
    torch.manual_seed(0)
    return Network(Tokens(wide).eval(), {}, (wide, 4, 4), classes=tuple("abcde"))


WEIGHTS = ("up.weight", "down.weight", "head.weight")


def in_groups(network: Network, bits: int, group: int, symmetric: bool = True) -> Network:
    scheme = Scheme(bits, signed=True, symmetric=symmetric, axis=0, group=group)
    made: dict[str, Any] = {}
    for name in WEIGHTS:
        rows = grouped(network.module.get_parameter(name).detach(), 0, group)
        made[name] = Grid.between(rows.amin(-1), rows.amax(-1), scheme)
    return network.restricted(made)


def per_channel(network: Network) -> dict[str, Any]:
    rows = {name: network.module.get_parameter(name).detach() for name in WEIGHTS}
    scheme = Scheme(8, signed=True, symmetric=True, axis=0)
    return {name: Grid.between(one.amin(1), one.amax(1), scheme) for name, one in rows.items()}


def operations(network: Network) -> Counter[str]:
    return Counter(node.op_type for node in onnx_program(network).graph.node)


@pytest.mark.parametrize(("bits", "group", "symmetric"), [(2, 64, True), (4, 32, False), (6, 32, True), (8, 64, False)])
def test_weights_in_groups_are_multiplied_by_one_operation(bits: int, group: int, symmetric: bool) -> None:
    network = in_groups(tokens(), bits, group, symmetric)
    found = operations(network)
    assert found["MatMulNBits"] == 5 and not found["MatMul"] + found["Gemm"] + found["Grouped"]
    model = onnx_program(network)
    held = {one.name: onnx.numpy_helper.to_array(one) for one in model.graph.initializer}
    for name in WEIGHTS:
        weight, (grid,) = network.module.get_parameter(name).detach(), network.restrictions[name]
        codes = held[f"{name}.integers"]
        if container(bits) == 4:
            codes = numpy.stack([codes & 15, codes >> 4], -1).reshape(*codes.shape[:-1], -1)
        offset = 2 ** (container(bits) - 1)
        expected = grouped(grid.codes(weight), 0, group).numpy() + offset
        assert (codes == expected).all() and not any(one.endswith("numbers") for one in held)
        assert (f"{name}.zero" in held) == (not symmetric)
    images = torch.randn(3, 64, 4, 4)
    expected = deployed(network)(images)
    as_read = reading(network)
    assert as_read is not None
    answer = Session(as_bytes(model))(images)
    assert distance(answer, as_read(images)) < 2e-3
    assert distance(answer, expected) < 0.02


def test_an_incomplete_last_group() -> None:
    network = in_groups(tokens(72), 4, 32, symmetric=False)
    assert operations(network)["MatMulNBits"] == 5
    images = torch.randn(2, 72, 4, 4)
    assert distance(Session(as_bytes(onnx_program(network)))(images), deployed(network)(images)) < 0.02


def test_other_groups_and_other_readers_compute_with_numbers() -> None:
    odd = in_groups(tokens(), 4, 24)
    assert not operations(odd)["MatMulNBits"]
    images = torch.randn(2, 64, 4, 4)
    assert distance(Session(as_bytes(onnx_program(odd)))(images), deployed(odd)(images)) < 1e-3


def test_a_range_that_is_computed_multiplies_integers() -> None:
    network = tokens()
    places = {"norm:layer_norm": Dynamic(), "norm:layer_norm[2]": Dynamic(), ":gelu": Dynamic(), ":mean": Dynamic()}
    both = network.restricted({**per_channel(network), **places})
    found = operations(both)
    assert found["MatMulInteger"] == 4 and found["MatMul"] == 1, "the second gelu has no grid"
    images = torch.randn(3, 64, 4, 4)
    session = Session(as_bytes(onnx_program(both)))
    assert distance(session(images), deployed(both)(images)) < 2e-3
    assert not found["Dynamic"]


def test_a_value_that_is_also_read_otherwise_has_its_numbers() -> None:
    network = tokens().restricted({"norm:layer_norm": Dynamic()})  # its reader's weight is not on a grid
    found = operations(network)
    assert found["DynamicQuantizeLinear"] == 1 and found["DequantizeLinear"] == 1 and not found["MatMulInteger"]
    images = torch.randn(3, 64, 4, 4)
    assert distance(Session(as_bytes(onnx_program(network)))(images), deployed(network)(images)) < 1e-3


def test_what_is_read_is_rounded_for_each_group() -> None:
    network = in_groups(tokens(72), 8, 32)
    as_read, module = reading(network), deployed(network)
    assert as_read is not None and reading(tokens()) is None

    def rounded(layer: Any, given: Any) -> Any:
        rows = given[0].split(32, -1)
        steps = [part.abs().amax(-1, keepdim=True) / 127 for part in rows]
        return (torch.cat([(part / step).round() * step for part, step in zip(rows, steps, strict=True)], -1),)

    for part in module.modules():
        if isinstance(part, nn.Linear):
            part.register_forward_pre_hook(rounded)
    images = torch.randn(2, 72, 4, 4)
    assert distance(as_read(images), module(images)) < 1e-5


def test_the_runtime_says_how_each_layer_executes() -> None:
    network = in_groups(tokens(), 3, 32)
    ready = prepare(network, Deployment(batch=2))
    rows = {row.layer: (row.executes, row.why) for row in ready.execution()}
    assert {executes for executes, _ in rows.values()} == {"int4"}
    assert "3 bits are held in 4" in rows["up"][1] and "8 bits for each group of 32" in rows["up"][1]
    places: dict[str, Any] = {"norm:layer_norm": Dynamic(), "norm:layer_norm[2]": Dynamic(), ":gelu": Dynamic()}
    both = tokens().restricted({**per_channel(tokens()), **places, ":gelu[2]": Dynamic()})
    told = {row.layer: row for row in prepare(both, Deployment(batch=2)).execution()}
    assert (told["up"].executes, told["down"].executes, told["head"].executes) == ("int8", "int8", "float32")
    eight = {row.layer: row.executes for row in prepare(in_groups(tokens(), 8, 32), Deployment(batch=2)).execution()}
    assert set(eight.values()) == {"int8"}
