"""Programs with unsigned integers: the same numbers, exact where products of uint8 and int8 overflow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from residual_block import answers, plain, quantized
from torch import Tensor

from recipelang.kinds import Deployment
from recipelang.methods.exports.onnx import Onnx
from recipelang.runtimes import onnx_session, onnx_unsigned
from recipelang.surgery.deployed import deployed
from recipelang.surgery.network import Network

onnx = pytest.importorskip("onnx", reason='needs pip install "recipelang[onnxruntime]"')
pytest.importorskip("onnxruntime", reason='needs pip install "recipelang[onnxruntime]"')


@pytest.fixture
def overflowing(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A processor on which products overflow, whatever this one is."""
    monkeypatch.setattr(onnx_session, "overflowing", lambda: True)
    yield


def made(nodes: list[Any], held: dict[str, Any], inputs: dict[str, int], shape: list[int]) -> bytes:
    """A program with the output `output`."""
    helper = onnx.helper
    put = [helper.make_tensor_value_info(name, kind, shape) for name, kind in inputs.items()]
    got = [helper.make_tensor_value_info("output", onnx.TensorProto.FLOAT, None)]
    initializers = [onnx.numpy_helper.from_array(value, name) for name, value in held.items()]
    graph = helper.make_graph(nodes, "g", put, got, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    return bytes(model.SerializeToString())


def by_reference(program: bytes, value: np.ndarray) -> np.ndarray:
    from onnx.reference import ReferenceEvaluator

    return np.asarray(ReferenceEvaluator(onnx.load_from_string(program)).run(None, {"input": value})[0])


def types(program: bytes) -> set[int]:
    return {one.data_type for one in onnx.load_from_string(program).graph.initializer}


@pytest.mark.parametrize("zero", ["none", "scalar", "per channel"])
@pytest.mark.parametrize("signed_input", [False, True])
def test_lifted_integers_are_the_same_numbers(zero: str, signed_input: bool) -> None:
    node, draws = onnx.helper.make_node, np.random.default_rng(0)
    kind: Any = np.int8 if signed_input else np.uint8
    held = {
        "scale": np.float32(0.1),
        "start": kind(3),
        "weight": draws.integers(-128, 128, (6, 4)).astype(np.int8),
        "factors": draws.random(4).astype(np.float32) + 0.5 if zero == "per channel" else np.float32(0.02),
    }
    weight = ["weight", "factors"]
    if zero == "scalar":
        held["none"], weight = np.int8(0), [*weight, "none"]
    nodes = [
        node("QuantizeLinear", ["input", "scale", "start"], ["codes"]),
        node("DequantizeLinear", ["codes", "scale", "start"], ["value"]),
        node("DequantizeLinear", weight, ["factor"], axis=1),
        node("MatMul", ["value", "factor"], ["output"]),
    ]
    program = made(nodes, held, {"input": onnx.TensorProto.FLOAT}, [5, 6])
    lifted = onnx_unsigned.unsigned(program)
    assert onnx.TensorProto.INT8 in types(program) and onnx.TensorProto.INT8 not in types(lifted)
    value = draws.normal(size=(5, 6), scale=8).astype(np.float32)
    assert np.array_equal(by_reference(lifted, value), by_reference(program, value))


def test_integers_of_a_computed_range_are_lifted() -> None:
    node, draws = onnx.helper.make_node, np.random.default_rng(1)
    nodes = [
        node("DynamicQuantizeLinear", ["input"], ["codes", "scale", "start"]),
        node("MatMulInteger", ["codes", "weight", "start"], ["sums"]),
        node("Cast", ["sums"], ["output"], to=onnx.TensorProto.FLOAT),
    ]
    held = {"weight": draws.integers(-128, 128, (6, 4)).astype(np.int8)}
    program = made(nodes, held, {"input": onnx.TensorProto.FLOAT}, [5, 6])
    value = draws.normal(size=(5, 6)).astype(np.float32)
    lifted = onnx_unsigned.unsigned(program)
    assert types(lifted) == {onnx.TensorProto.UINT8}
    assert np.array_equal(by_reference(lifted, value), by_reference(program, value))


def test_a_program_without_signed_integers_is_left_as_it_is() -> None:
    program = made([onnx.helper.make_node("Relu", ["input"], ["output"])], {}, {"input": onnx.TensorProto.FLOAT}, [2])
    assert onnx_unsigned.unsigned(program) is program


def test_whether_products_overflow_is_tried() -> None:
    def runs(most: float) -> Callable[[bytes], Callable[[Tensor], Tensor]]:
        return lambda program: lambda inputs: torch.from_numpy(by_reference(program, inputs.numpy())).clamp(max=most)

    assert not onnx_unsigned.overflows(runs(float("inf")))
    assert onnx_unsigned.overflows(runs(2 * 32767.0)), "each sum of two stops at the largest of 16 bits"


@pytest.mark.usefixtures("overflowing")
def test_a_network_executes_in_unsigned_integers() -> None:
    from recipelang.runtimes.onnx_executable import prepare

    network = quantized(plain())
    ready = prepare(network, Deployment(batch=2))
    images = torch.randn(64, 3, 16, 16, generator=torch.Generator().manual_seed(5))
    simulated, exact = answers(deployed(network), images), answers(deployed(plain()), images)
    assert (answers(ready, images) - simulated).norm() < (simulated - exact).norm()
    assert {row.executes for row in ready.execution() if row.layer != "linear"} == {"int8"}


def exported(network: Network, folder: Path, **settings: Any) -> bytes:
    (path,) = Onnx(**settings).write(network, folder)
    return path.read_bytes()


@pytest.mark.parametrize("overflow", [True, False])
def test_a_file_has_the_integers_that_were_asked_for(
    overflow: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnxruntime

    if overflow or not onnx_session.overflowing():  # else this processor cannot execute signed integers
        monkeypatch.setattr(onnx_session, "overflowing", lambda: overflow)
    network = quantized(plain())
    signed, lifted = exported(network, tmp_path), exported(network, tmp_path, integers="unsigned")
    assert onnx.TensorProto.INT8 in types(signed) and onnx.TensorProto.INT8 not in types(lifted)
    assert onnx_unsigned.unsigned(signed) == lifted
    images = torch.randn(16, 3, 16, 16, generator=torch.Generator().manual_seed(5))
    wanted, exact = answers(deployed(network), images), answers(deployed(plain()), images)
    same, apart = torch.from_numpy(by_reference(signed, images.numpy())), (wanted - exact).norm()
    assert torch.equal(same, torch.from_numpy(by_reference(lifted, images.numpy())))
    session = onnxruntime.InferenceSession(lifted, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"input": images.numpy()})
    assert (answers(lambda _: torch.from_numpy(found), images) - wanted).norm() < apart
    told, same_told = (onnx.load_from_string(program).metadata_props for program in (signed, lifted))
    assert len(told) == 1 and list(told) == list(same_told), "class names and preprocessing"


def test_a_report_says_that_a_file_is_for_other_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    network = quantized(plain())
    monkeypatch.setattr(onnx_session, "overflowing", lambda: True)
    assert "overflow in onnxruntime on this processor" in Onnx().remark(network)
    assert "`export onnx(integers=unsigned)`" in Onnx().remark(network)
    assert Onnx(integers="unsigned").remark(network) == "" == Onnx().remark(plain())
    assert "`integers=unsigned` changes nothing" in Onnx(integers="unsigned").remark(plain())
    monkeypatch.setattr(onnx_session, "overflowing", lambda: False)
    assert Onnx().remark(network) == ""
