"""What runtimes compute of a trained, quantized network: the same integers at the first places, the same classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from residual_block import quantized
from torch.nn import functional

from recipelang.catalogue import find, names
from recipelang.kinds import Deployment, ModelRequest
from recipelang.runtimes import onnx_integers
from recipelang.runtimes.onnx_integers import Integers
from recipelang.runtimes.onnx_program import as_bytes, onnx_program
from recipelang.surgery.deployed import deployed
from recipelang.surgery.network import Network

onnx = pytest.importorskip("onnx", reason='needs pip install "recipelang[onnxruntime]"')
onnxruntime = pytest.importorskip("onnxruntime", reason='needs pip install "recipelang[onnxruntime]"')


def images(split: str) -> tuple[torch.Tensor, torch.Tensor]:
    """All images of a split of the embedded digits, and their labels."""
    data: Any = find("data", "digits")().open(Path)  # type: ignore[misc]
    batches = list(data.batches(split, batch=64))
    return torch.cat([part.inputs for part in batches]), torch.cat([part.targets for part in batches])


@pytest.fixture(scope="module")
def trained() -> Network:
    """The embedded network after three epochs of a loop by hand."""
    torch.manual_seed(0)  # the weights that it begins with do not depend on the tests before this one
    network: Network = find("model", "digits_resnet")().build(ModelRequest())  # type: ignore[misc]
    inputs, labels = images("train")
    optimizer = torch.optim.Adam(network.module.parameters(), 3e-3)
    network.module.train()
    for epoch in range(3):
        order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(epoch))
        for part in order.split(64):
            optimizer.zero_grad()
            functional.cross_entropy(network.module(inputs[part]), labels[part]).backward()
            optimizer.step()
    network.module.eval()
    return network


def test_the_integers_at_the_first_places_are_those_of_the_simulation(
    trained: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not those at the last: a number in the middle goes to either side, and the layers that follow multiply it."""
    network, seen = quantized(trained), []
    inputs = images("test")[0][:32]
    program = onnx.load_from_string(as_bytes(onnx_program(network)))
    real = onnx_integers._quantized

    def watched(grid: Any, value: torch.Tensor) -> torch.Tensor:
        seen.append(grid.codes(value))
        return real(grid, value)

    monkeypatch.setattr(onnx_integers, "_quantized", watched)
    with torch.no_grad():
        Integers(network)(inputs)
    made = [node.output[0] for node in program.graph.node if node.op_type == "QuantizeLinear"]
    assert len(made) == len(seen) > 20
    for name in made:
        program.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(program.SerializeToString(), options, providers=["CPUExecutionProvider"])
    found = session.run(made[:10], {"input": inputs.numpy()})
    for n, (codes, expected) in enumerate(zip(found, seen, strict=False)):
        apart = numpy.abs(codes.astype(numpy.int32) - expected.numpy())
        assert codes.any() and apart.max() <= (1 if n < 5 else 2) and (apart > 0).mean() <= 0.01


@pytest.mark.parametrize("name", [name for name in names("runtime") if name != "torch"])
def test_a_runtime_gives_the_classes_of_the_simulated_network(name: str, trained: Network) -> None:
    network = quantized(trained)
    inputs, labels = images("test")
    runtime: Any = find("runtime", name)
    pytest.importorskip(name, reason=f'needs pip install "recipelang[{name}]"')
    ready = runtime().prepare(network, Deployment(batch=64))
    with torch.no_grad():
        told = torch.cat([torch.as_tensor(ready(part)).argmax(1) for part in inputs.split(64)])
        simulated, exact = (deployed(one)(inputs).argmax(1) for one in (network, trained))
    assert (exact == labels).float().mean() > 0.9, "the network is trained"
    assert (told == simulated).float().mean() >= 0.98
    assert abs(float((told == labels).float().mean() - (simulated == labels).float().mean())) <= 0.01
