"""What watches of programs say of layers: onnxruntime by its profiler, OpenVINO by its counters."""

from __future__ import annotations

import copy
import importlib.util
from typing import Any

import numpy as np
import pytest
import torch
from residual_block import plain, quantized
from torch import nn
from watched_networks import networks

from recipelang.catalogue import find
from recipelang.kinds import Deployment
from recipelang.kinds.layer_times import Watched
from recipelang.runtimes import onnx_watch
from recipelang.runtimes.onnx_graph import Graph
from recipelang.surgery.network import Network
from recipelang.surgery.products import products_of

#: how often one call of a network calls a layer, at most: a runtime may compute several calls in one operation
CALLS = {"repeated": {"again": 3, "twice": 2}}

LIBRARIES = ("onnx", "onnxruntime", "onnxscript")
MISSING = [name for name in LIBRARIES if importlib.util.find_spec(name) is None]
needs_onnx = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")


@needs_onnx
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("name", [*networks(), "residual", "quantized", "quantized weights"])
def test_operations_of_other_runtimes_find_their_layers(name: str, runtime: str) -> None:
    """Every weight that multiplies has a row of its own, whatever its product was fused with."""
    block = {"residual": plain, "quantized": lambda: quantized(plain())}
    block["quantized weights"] = lambda: quantized(plain(), 8, ("weights",))
    network = block[name]() if name in block else networks()[name]
    seen = watched(network, runtime)
    layers = {product.name.removesuffix(".weight") for product in products_of(network)}
    assert layers <= seen.seconds.keys()
    assert all(layer in layers or layer.startswith("every ") for layer in seen.seconds)
    assert all(len(row) == 2 and min(row) >= 0 for row in seen.seconds.values())
    assert all(1 <= seen.calls[layer] <= CALLS.get(name, {}).get(layer, 1) for layer in layers)
    assert seen.calls.get("again", 3) == 3


def watched(network: Network, runtime: str) -> Watched:
    """Two samples of a network."""
    pytest.importorskip(runtime)
    ready: Any = find("runtime", runtime)().prepare(network, Deployment())
    watch = ready.watch()
    try:
        for _ in range(2):
            watch.sample(torch.randn(1, *network.input_shape), 3)
        seen: Watched = watch.finish()
        return seen
    finally:
        watch.close()


@needs_onnx
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_equal_weights_that_are_one_in_the_program_are_told_by_all_their_names(runtime: str) -> None:
    """Layers that are copies of each other: what reads the one weight that is left is nobody's alone."""
    torch.manual_seed(0)
    first, last = nn.Linear(16, 16), nn.Linear(16, 3)
    second = copy.deepcopy(first)
    module = nn.Sequential(nn.LayerNorm(16), first, nn.GELU(), nn.LayerNorm(16), second, nn.GELU(), last)
    seen = watched(Network(module.eval(), {}, (4, 16)), runtime)
    assert "1 + 4" in seen.seconds and seen.calls["1 + 4"] == 2
    assert "6" in seen.seconds and not {"1", "4"} & seen.seconds.keys()


def test_weights_of_one_program_by_hand() -> None:
    """`a` and `b` are equal and one in the program; `c` is only there transposed; `d` and `e` are equal and both there;
    of the equal `f` and `g`, one is there as it is and the other one transposed."""
    onnx = pytest.importorskip("onnx")
    torch.manual_seed(0)
    one, two, three, four = (torch.randn(2, 3) for _ in range(4))
    bias = torch.zeros(3)
    weights = {"a.weight": one, "b.weight": one, "c.weight": two, "d.weight": three, "e.weight": three}
    weights |= {"f.weight": four, "g.weight": four, "a.bias": bias}
    held = {"a.weight": one, "val_1": two.T, "d.weight": three, "e.weight": three, "f.weight": four, "val_2": four.T}
    tensors = [
        onnx.numpy_helper.from_array(np.ascontiguousarray(value.numpy()), name)
        for name, value in ({**held, "other": torch.ones(2, 2)}).items()
    ]
    found = onnx_watch.layers_read(Graph(onnx.helper.make_graph([], "", [], [], tensors)), weights)
    assert {value: found[value] for value in held} == {
        "a.weight": "a + b", "val_1": "c", "d.weight": "d", "e.weight": "e", "f.weight": "f", "val_2": "g"
    }  # fmt: skip
    assert "other" not in found and "a.bias" not in found


def test_what_openvino_computes_as_one_is_told_by_all_its_names() -> None:
    """It multiplies small matrices one after the other in one operation: what each of them takes is not known. Which
    ones these are depends on the processor; `test_an_addition_of_a_bias_alone_is_no_product` has it by hand."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 5))
    seen = watched(Network(module.eval(), {}, (16,)), "openvino")
    rows = [row for row in seen.seconds if not row.startswith("every ")]
    assert sorted(layer for row in rows for layer in row.split(" + ")) == ["0", "2", "4"]
    assert all(seen.kinds[row] == "Subgraph" and seen.calls[row] == 1 for row in rows if " + " in row)


def test_an_addition_of_a_bias_alone_is_no_product() -> None:
    """The names are those of OpenVINO; `conv` has its bias in itself, `again` in an operation with what follows."""
    onnx = pytest.importorskip("onnx")
    from recipelang.runtimes.openvino_watch import layers_of

    make = onnx.helper.make_node
    nodes = [
        make("Conv", ["x", "conv.weight", "conv.bias"], ["a"], "conv"),
        make("Conv", ["a", "again.weight", "again.bias"], ["b"], "again"),
        make("Add", ["a", "b"], ["c"], "add"),
        make("MatMul", ["c", "linear.weight"], ["d"], "matmul"),
        make("Add", ["d", "linear.bias"], ["e"], "bias"),
    ]
    weights = {f"{name}.weight": torch.randn(3, 3, generator=torch.Generator()) for name in ("conv", "again", "linear")}
    written = onnx_watch.Written(Graph(onnx.helper.make_graph(nodes, "", [], [])), weights)
    executed = [
        ("1", "Convolution", ("conv/WithoutBiases", "conv")),
        ("2", "Convolution", ("again/WithoutBiases",)),
        ("3", "Subgraph", ("again", "add")),
        ("4", "FullyConnected", ("bias",)),
        ("5", "Reorder", ()),
        ("6", "Subgraph", ("conv/WithoutBiases", "conv", "matmul", "add")),
    ]
    assert layers_of(executed, written) == {
        "1": ("conv", "Convolution"), "2": ("again", "Convolution"), "3": ("every Subgraph", "Subgraph"),
        "4": ("linear", "FullyConnected"), "5": ("every Reorder", "Reorder"), "6": ("conv + linear", "Subgraph"),
    }  # fmt: skip


def test_openvinos_counters_by_hand() -> None:
    """A first call of 1000 µs and ten later ones of 20.5 µs each, of which a counter cuts half a microsecond off: it
    then says that all eleven took 109 µs on average."""
    pytest.importorskip("openvino")
    from recipelang.runtimes.openvino_watch import later

    found = later({"slow": 1000e-6, "short": 3e-6}, {"slow": 109e-6, "short": 0.0, "none": 0.0}, 10)
    assert found["slow"] == pytest.approx((109 * 11 - 1000) / 10 * 1e-6 + 0.5e-6 + 0.55e-6)
    assert found["slow"] == pytest.approx(20.5e-6, abs=1e-6)
    assert 0 < found["short"] < 1e-6 and "none" not in found


def test_openvinos_operations_are_numbered_anew_by_each_compilation() -> None:
    """By hand: samples agree by layer; what the graph does not know is told as such."""
    pytest.importorskip("openvino")
    from recipelang.runtimes.openvino_watch import by_layer

    named = {"conv_7": ("conv", "Convolution"), "relu_9": ("every Subgraph", "Subgraph")}
    named["relu_8"] = named["relu_9"]
    assert by_layer({"conv_7": 3.0, "relu_8": 1.0, "relu_9": 2.0, "new": 4.0}, named) == {
        "conv": [("Convolution", 3.0)],
        "every Subgraph": [("Subgraph", 1.0), ("Subgraph", 2.0)],
        "every other operation": [("", 4.0)],
    }


def test_the_profilers_events_by_hand() -> None:
    """Two calls, the first of which had waited: only the second is a sample. Times are in microseconds, cut off."""

    def node(name: str, start: int, length: int) -> dict[str, Any]:
        return {"cat": "Node", "name": f"{name}_kernel_time", "ts": start, "dur": length}

    def run(start: int, length: int) -> dict[str, Any]:
        return {"cat": "Session", "name": "model_run", "ts": start, "dur": length}

    events = [run(0, 100), node("a", 1, 90), node("b", 92, 3), run(200, 20), node("a", 201, 4), node("b", 206, 9)]
    named = {"a": ("conv1", "Conv"), "b": ("every Relu", "Relu")}
    seen = onnx_watch.read(events, named, [(1, None), (1, 0)])
    assert seen.seconds["conv1"] == pytest.approx([4.5e-6]) and seen.seconds["every Relu"] == pytest.approx([9.5e-6])
    assert seen.calls == {"conv1": 1, "every Relu": 1} and seen.kinds["conv1"] == "Conv"
