"""What watches say of layers: exact on a clock that moves where a module says so, and the answer as without one."""

from __future__ import annotations

import copy
import importlib.util
import itertools
from typing import Any

import numpy as np
import pytest
import torch
from residual_block import plain, quantized
from torch import Tensor, nn

from recipelang.catalogue import find
from recipelang.kinds import Deployment
from recipelang.kinds.layer_times import Watched
from recipelang.runtimes import eager, onnx_watch
from recipelang.runtimes.module_watch import CpuCuts, ModuleWatch, watch_of
from recipelang.runtimes.onnx_graph import Graph
from recipelang.surgery.deployed import deployed
from recipelang.surgery.network import Network
from recipelang.surgery.products import products_of


class Clock:
    """Seconds that pass only where a module works."""

    def __init__(self) -> None:
        self.time = self.waits = 0.0

    def now(self) -> float:
        return self.time

    def waited(self) -> float:
        return self.waits


class Work(nn.Module):
    """Takes seconds, and waits for some of them."""

    def __init__(self, clock: Clock, seconds: float, waits: float = 0.0) -> None:
        super().__init__()
        self.clock, self.seconds, self.waits = clock, seconds, waits

    def forward(self, x: Tensor) -> Tensor:
        self.clock.time += self.seconds + self.waits
        self.clock.waits += self.waits
        return x + 1


class Block(nn.Module):
    """Works itself before, between and after two calls of one layer and one of another."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.twice, self.once, self.clock = Work(clock, 0.2), nn.Sequential(Work(clock, 0.3, waits=5.0)), clock

    def forward(self, x: Tensor) -> Tensor:
        self.clock.time += 0.01
        x = self.twice(self.twice(x))
        self.clock.time += 0.02
        x = self.once(x)
        self.clock.time += 0.04
        return x


def test_pieces_belong_to_the_innermost_module_and_add_up_to_the_call() -> None:
    """By hand: 0.01 + 0.02 + 0.04 are the block's own, 2 · 0.2 of one layer, 0.3 of the other; waiting is nobody's."""
    clock = Clock()
    module = nn.Sequential(Work(clock, 1.0), Block(clock)).eval()
    watch = ModuleWatch(module, CpuCuts(clock.now, clock.waited))
    for calls in (1, 3):
        watch.sample(torch.zeros(1), calls)
    seen = watch.finish()
    expected = {"": 0.0, "0": 1.0, "1": 0.07, "1.twice": 0.4, "1.once.0": 0.3}
    assert list(seen.seconds) == ["", "0", "1", "1.twice", "1.once.0"]
    for layer, seconds in expected.items():
        assert list(seen.seconds[layer]) == pytest.approx([seconds, seconds])
    assert seen.calls == {"": 1, "0": 1, "1": 1, "1.twice": 2, "1.once.0": 1}
    assert seen.kinds["1.twice"] == "Work" and seen.kinds["1"] == "Block"


def test_a_layer_that_is_reached_sometimes_only_has_a_number_for_every_sample() -> None:
    class Sometimes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.turn = nn.ReLU(), nn.Tanh(), itertools.count()

        def forward(self, x: Tensor) -> Tensor:
            return (self.a, self.b)[next(self.turn) % 2](x)

    watch = ModuleWatch(Sometimes(), CpuCuts())
    for _ in range(4):
        watch.sample(torch.zeros(1), 1)
    assert {layer: len(row) for layer, row in watch.finish().seconds.items()} == {"": 4, "a": 4, "b": 4}


def test_a_module_that_fails_is_as_it_was() -> None:
    class Failing(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise ValueError("no")

    module = nn.Sequential(nn.ReLU(), Failing())
    watch = ModuleWatch(module, CpuCuts())
    with pytest.raises(ValueError, match="no"):
        watch.sample(torch.zeros(1), 1)
    assert all("forward" not in part.__dict__ for part in module.modules())
    assert watch.cuts.owner is None


class Attending(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), 2)
        self.head = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(x.flatten(2).transpose(1, 2)).mean(1))


class Depthwise(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.c, self.n = nn.Conv2d(16, 16, 3, padding=1, groups=16), nn.BatchNorm2d(16)
        self.p, self.up, self.head = nn.Conv2d(16, 8, 1), nn.ConvTranspose2d(8, 8, 2, 2), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.n(self.c(x)).relu()
        return self.head(self.up(self.p(x)).relu().mean((2, 3)))


class Repeated(nn.Module):
    """One convolution three times, each with an addition after it, and one linear layer twice."""

    def __init__(self) -> None:
        super().__init__()
        self.again, self.down = nn.Conv2d(16, 16, 3, padding=1), nn.Conv2d(16, 128, 3, padding=1)
        self.twice, self.head = nn.Linear(128, 128), nn.Linear(128, 3)

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(3):
            x = x + self.again(x).relu()
        x = self.down(x).relu().mean((2, 3))
        return self.head(self.twice(self.twice(x).relu()).relu())


class Up(nn.Module):
    """Superresolution: the answer is an image."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(16, 16, 3, padding=1), nn.Conv2d(16, 12, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.pixel_shuffle(self.b(self.a(x).relu()), 2)


def networks() -> dict[str, Network]:
    torch.manual_seed(0)
    modules = {
        "attending": Attending(),
        "depthwise": Depthwise(),
        "up": Up(),
        "repeated": Repeated(),
        "mlp": nn.Sequential(nn.Flatten(), nn.Linear(1024, 32), nn.ReLU(), nn.Linear(32, 3)),
    }
    for parameter in modules["attending"].parameters():  # its layers are copies of one: equal weights are one in ONNX
        nn.init.normal_(parameter, std=0.2)
    return {name: Network(module.eval(), {}, (16, 8, 8)) for name, module in modules.items()}


#: how often one call of a network calls a layer, at most: a runtime may compute several calls in one operation
CALLS = {"repeated": {"again": 3, "twice": 2}}


@pytest.mark.parametrize("name", list(networks()))
def test_the_answer_is_that_of_a_call_without_a_watch(name: str) -> None:
    module = deployed(networks()[name])
    images, watch = torch.randn(2, 16, 8, 8), watch_of(module, torch.device("cpu"))
    with torch.inference_mode():
        before, answers = module(images), []
        handle = module.register_forward_hook(lambda _, __, answer: answers.append(answer))
        watch.sample(images, 2)
        handle.remove()
    assert all(torch.equal(answer, before) for answer in answers) and len(answers) == 2
    assert all("forward" not in part.__dict__ for part in module.modules())


@pytest.mark.parametrize("name", list(networks()))
def test_torchs_profiler_sees_the_same_modules_called_as_often(name: str) -> None:
    """A second opinion on structure: every module that computes has a span of its own in torch's profiler."""
    module = deployed(networks()[name])
    images, watch = torch.randn(2, 16, 8, 8), watch_of(module, torch.device("cpu"))
    spans: list[Any] = []

    def named(path: str) -> None:
        part = module.get_submodule(path)
        part.register_forward_pre_hook(lambda *_: spans.append(torch.profiler.record_function(path).__enter__()))
        part.register_forward_hook(lambda *_: spans.pop().__exit__(None, None, None))

    with torch.inference_mode():
        watch.sample(images, 1)
        seen = watch.finish()
        if name == "attending":  # hooks make torch leave the fast path, in which attention is one function
            assert "encoder.layers.0" in seen.seconds and "encoder.layers.0.linear1" not in seen.seconds
            return
        paths = [path for path in seen.seconds if path]
        for path in paths:
            named(path)
        with torch.profiler.profile() as profile:
            module(images)
    theirs = {event.key: event.count for event in profile.key_averages() if event.key in paths}
    assert theirs == {path: seen.calls[path] for path in paths} and theirs


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


def test_a_network_of_torch_has_a_watch() -> None:
    ready = eager.prepare(networks()["mlp"])
    watch = ready.watch()
    with torch.inference_mode():
        watch.sample(torch.randn(1, 16, 8, 8), 1)
    watch.close()
    assert list(watch.finish().seconds) == ["", "0", "1", "2", "3"]


def test_pieces_on_a_gpu_lie_between_two_events_of_its_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand, on events that read a synthetic clock: the same pieces as on a CPU, and one event a cut."""
    clock, recorded = Clock(), list[Any]()

    class Event:
        def __init__(self, enable_timing: bool) -> None:
            assert enable_timing

        def record(self, stream: Any) -> None:
            self.at = clock.time
            recorded.append(stream)

        def elapsed_time(self, later: Any) -> float:
            return 1000.0 * (later.at - self.at)  # milliseconds

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: f"stream of {device}")
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    module = nn.Sequential(Work(clock, 1.0), Block(clock)).eval()
    watch = watch_of(module, torch.device("cuda"))
    for _ in range(2):
        watch.sample(torch.zeros(1), 2)
    seen = watch.finish()
    watch.close()
    expected = {"": 0.0, "0": 1.0, "1": 0.07, "1.twice": 0.4, "1.once.0": 5.3}  # nothing on a GPU waits for a core
    for layer, seconds in expected.items():
        assert list(seen.seconds[layer]) == pytest.approx([seconds, seconds])
    assert set(recorded) == {"stream of cuda"} and len(recorded) == 2 * 2 * 2 * 6
