"""The same programs in OpenVINO: its answers, what executes in integers, its settings."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from residual_block import answers, plain, quantized
from torch import nn

from recipelang.errors import Refusal
from recipelang.kinds import Deployment
from recipelang.runtimes import onnx_integers
from recipelang.runtimes.onnx_compared import distance
from recipelang.runtimes.openvino_executable import prepare
from recipelang.runtimes.openvino_session import Compiled, _overflows
from recipelang.surgery.deployed import deployed
from recipelang.surgery.network import Network
from recipelang.surgery.tracing import example_input

pytest.importorskip("onnx", reason='needs pip install "recipelang[openvino]"')
pytest.importorskip("openvino", reason='needs pip install "recipelang[openvino]"')


@pytest.fixture(scope="module")
def ready() -> Any:
    """What OpenVINO executes of the quantized network."""
    return prepare(quantized(plain()), Deployment(batch=2))


def test_the_answer_is_that_of_the_simulated_network(ready: Any) -> None:
    network = quantized(plain())
    images = torch.randn(64, 3, 16, 16, generator=torch.Generator().manual_seed(5))
    simulated, exact = answers(deployed(network), images), answers(deployed(plain()), images)
    assert distance(answers(ready, images), simulated) < distance(simulated, exact)


def test_products_execute_in_integers_and_float32_is_float32(ready: Any) -> None:
    rows = {row.layer: row for row in ready.execution()}
    if _overflows():
        assert {row.executes for row in rows.values()} == {"float32"}
        assert all("overflow" in row.why for row in rows.values())
    else:
        assert {row.executes for row in rows.values()} == {"int8"}
        assert all(row.why.lower().endswith("_i8)") for row in rows.values()), "the kernel that was chosen"
    assert {row.executes for row in prepare(plain(), Deployment()).execution()} == {"dense"}
    hint = ready.compiled.compiled((2, 3, 16, 16)).get_property("INFERENCE_PRECISION_HINT")
    assert hint.to_string() == "f32", "some CPUs would compute in bfloat16"


@pytest.mark.parametrize("parts", [("weights",), ("weights", "activations")])
def test_what_stays_in_float32_says_why(parts: tuple[str, ...]) -> None:
    network = quantized(plain(), 8 if parts == ("weights",) else 12, parts)
    rows = prepare(network, Deployment()).execution()
    assert {row.executes for row in rows} == {"float32"}
    reason = "multiplied with is in float32" if parts == ("weights",) else "at most 8 bits"
    assert all(reason in row.why for row in rows)


def test_fewer_bits_are_clipped_in_the_program() -> None:
    network = quantized(plain(), 4)
    images = 3 * torch.randn(16, 3, 16, 16, generator=torch.Generator().manual_seed(5))  # beyond the grids
    simulated, exact = answers(deployed(network), images), answers(deployed(plain()), images)
    assert distance(answers(prepare(network, Deployment()), images), simulated) < distance(simulated, exact)


def test_each_shape_is_compiled_once(ready: Any) -> None:
    compiled = ready.compiled
    for batch in (1, 2, 1, 3):
        assert compiled(torch.zeros(batch, 3, 16, 16)).shape == (batch, 5)
    assert {shape[0] for shape in compiled._requests} >= {1, 2, 3}
    assert compiled.compiled((2, 3, 16, 16)) is compiled.compiled((2, 3, 16, 16))


def test_an_answer_is_not_changed_by_the_next_call(ready: Any) -> None:
    images = example_input(plain(), 2)
    first = ready(images)
    kept = first.clone()
    ready(images + 1)
    assert torch.equal(first, kept)


def test_a_program_with_another_scale_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    real = onnx_integers._numbers
    monkeypatch.setattr(onnx_integers, "_numbers", lambda grid: (real(grid)[0] * 4, real(grid)[1]))
    with pytest.raises(Refusal, match="openvino's answers are .* from the network's") as caught:
        prepare(quantized(plain()), Deployment())
    assert caught.value.code == "RCP1028"


def test_what_it_does_not_take_is_refused_with_its_words() -> None:
    with pytest.raises(Refusal, match="openvino cannot execute the network") as caught:
        Compiled(b"not a program")
    assert caught.value.code == "RCP1029" and "pip install --upgrade openvino" in caught.value.help


def test_products_that_are_compiled_as_one_are_not_counted_as_integers() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Flatten(), nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 5)).eval()
    network = quantized(Network(module, {}, (3, 2, 2)))
    ready = prepare(network, Deployment(batch=4))
    images = example_input(network, 4)
    exact = answers(module, images)
    simulated = answers(deployed(network), images)
    assert distance(answers(ready, images), simulated) <= distance(simulated, exact)
    for row in ready.execution():
        reason = "overflow" if _overflows() else "does not tell in which numbers"
        assert row.executes == "int8" or reason in row.why


CTRL_C = """
import signal, sys
import onnx, torch
from onnx import TensorProto, helper
from recipelang.runtimes.openvino_session import Compiled

value = helper.make_tensor_value_info
graph = helper.make_graph(
    [helper.make_node("Relu", ["x"], ["y"])], "g",
    [value("x", TensorProto.FLOAT, ["n", 4])], [value("y", TensorProto.FLOAT, ["n", 4])],
)
program = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()
first, second = Compiled(program), Compiled(program)
first(torch.ones(2, 4)), second(torch.ones(2, 4))
del first
del second
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    sys.exit(130)
"""


def test_ctrl_c_is_heard_after_programs_were_freed_in_any_order() -> None:
    root = Path(__file__).parent.parent.parent
    ended = subprocess.run([sys.executable, "-c", CTRL_C], cwd=root, capture_output=True, text=True, check=False)
    assert ended.returncode == 130, (
        f"{signal.Signals(-ended.returncode).name if ended.returncode < 0 else ended.stderr}"
    )
