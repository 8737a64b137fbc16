"""The kernels in plain Triton: every case in the interpreter, and what their host refuses."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy
import pytest
import torch

from recipelang.errors import Refusal
from recipelang.kernels import nm
from recipelang.kernels.nm import launch
from recipelang.kernels.nm.format import pack, unpack
from recipelang.kernels.nm.portable import FEW, MANY, Portable, prune_and_pack
from recipelang.kernels.nm.problem import Device, Problem

DRIVER = Path(__file__).parent / "interpreted_portable.py"
ROOT = Path(__file__).parents[2]
HOPPER = Device("cuda", "NVIDIA H200", (9, 0), triton=(3, 6))
PROBLEM = Problem(4, 8, 32, torch.float16, HOPPER, torch.float16)


# in the interpreter -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def outcomes() -> dict[str, str]:
    """What was wrong with each case of the driver, run once."""
    triton = pytest.importorskip("triton")
    if triton.__version__.startswith("3.6.") and numpy.lib.NumpyVersion(numpy.__version__) >= "2.4.0":
        pytest.skip("the interpreter of Triton 3.6 cannot count a loop with numpy 2.4 or newer")
    # The interpreter of Triton 3.6 itself does what numpy calls deprecated.
    warnings = "error,ignore:Conversion of an array:DeprecationWarning"
    environment = {**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": warnings}
    done = subprocess.run([sys.executable, str(DRIVER)], env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("kind", "count"), [("pack", 20), ("multiply", 94), ("activate", 15), ("fault", 15), ("no", 2)]
)
def test_every_case_in_the_interpreter(outcomes: dict[str, str], kind: str, count: int) -> None:
    cases = {name: wrong for name, wrong in outcomes.items() if name.startswith(kind)}
    assert len(cases) == count
    assert {name: wrong for name, wrong in cases.items() if wrong} == {}


# where it runs ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        (replace(PROBLEM, device=replace(HOPPER, triton=None)), "Triton is not installed"),
        (replace(PROBLEM, device=replace(HOPPER, triton=(3, 5))), "Triton 3.5 is too old"),
        (replace(PROBLEM, device=replace(HOPPER, name="Tesla V100", capability=(7, 0))), "Tesla V100 is older"),
        (replace(PROBLEM, dtype=torch.float64, values=torch.float64), "no float64"),
        (replace(PROBLEM, values=torch.float32), "no float16 with values of float32"),
        (replace(PROBLEM, activation="tanh"), "no activation `tanh`"),
        (replace(PROBLEM, inputs=30), "30 inputs"),
    ],
)
def test_what_it_cannot_compute_has_a_reason(problem: Problem, words: str) -> None:
    assert words in (Portable().why_not(problem) or "")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_it_computes_every_dtype_on_every_gpu_since_turing(dtype: torch.dtype) -> None:
    for values in (dtype, torch.int8):
        problem = replace(PROBLEM, dtype=dtype, values=values, device=replace(HOPPER, capability=(7, 5)))
        assert Portable().why_not(problem) is None


def test_a_cpu_needs_the_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("triton")
    problem = replace(PROBLEM, device=Device("cpu", triton=(3, 9)))
    monkeypatch.setattr(launch, "interpreted", lambda: False)
    assert "only as an interpreter" in (Portable().why_not(problem) or "")
    monkeypatch.setattr(launch, "interpreted", lambda: True)
    assert Portable().why_not(problem) is None


def test_few_rows_try_the_small_tile_first() -> None:
    assert Portable().configurations(replace(PROBLEM, rows=16)) == (FEW, MANY)
    assert Portable().configurations(replace(PROBLEM, rows=17)) == (MANY, FEW)


def test_triton_is_imported_by_device_code_alone() -> None:
    importing = {
        file.name
        for file in Path(nm.__path__[0]).glob("*.py")
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Import | ast.ImportFrom) and ast.unparse(node).split()[1].split(".")[0] == "triton"
    }
    assert "portable_triton.py" in importing
    assert all(name.endswith(("_triton.py", "_gluon.py")) for name in importing)


# what its host refuses ----------------------------------------------------------------------------------

WEIGHT = torch.tensor([[1.0, 2, 0, 0] * 8] * 8, dtype=torch.float16)
X, BIAS = torch.ones(4, 32, dtype=torch.float16), torch.ones(8, dtype=torch.float16)


def refused(call: Callable[[], object]) -> str:
    with pytest.raises(Refusal) as caught:
        call()
    assert caught.value.code == "RCP1304"
    assert caught.value.help
    return caught.value.message


@pytest.mark.parametrize(
    ("x", "bias", "words"),
    [
        (X.float(), BIAS, "the activation is float32, but this kernel was made for float16"),
        (X[:, :28], BIAS, "the activation is 4×28, but this weight takes rows×32"),
        (X[0], BIAS, "the activation is 32, but"),
        (torch.ones(32, 4, dtype=torch.float16).t(), BIAS, "the activation is not contiguous"),
        (X.to("meta"), BIAS, "the activation is on `meta`, but the weight is on `cpu`"),
        (X, BIAS.float(), "the bias is float32"),
        (X, BIAS[:7], "the bias is 7, but this weight takes 8"),
        (X, BIAS[:, None], "the bias is 8×1"),
        (X, torch.ones(16, dtype=torch.float16)[::2], "the bias is not contiguous"),
        (X, BIAS.to("meta"), "the bias is on `meta`"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(x: torch.Tensor, bias: torch.Tensor, words: str) -> None:
    pytest.importorskip("triton")
    kernel = Portable()
    operands = kernel.operands(pack(WEIGHT), torch.float16, torch.device("cpu"))
    assert words in refused(lambda: kernel.run(x, operands, bias, PROBLEM, FEW))


def test_a_launch_on_a_cpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("triton")
    monkeypatch.setattr(launch, "interpreted", lambda: False)
    kernel = Portable()
    operands = kernel.operands(pack(WEIGHT), torch.float16, torch.device("cpu"))
    assert "tensors on `cpu`" in refused(lambda: kernel.run(X, operands, BIAS, PROBLEM, FEW))
    assert "tensors on `cpu`" in refused(lambda: prune_and_pack(WEIGHT))


@pytest.mark.parametrize(
    "weight", [WEIGHT[0], WEIGHT[:, :30], WEIGHT[:0], WEIGHT.int(), WEIGHT[:, ::2], torch.ones(32, 8).t()]
)
def test_pruning_refuses_what_it_cannot_read(weight: torch.Tensor) -> None:
    pytest.importorskip("triton")
    assert "cannot be packed" in refused(lambda: prune_and_pack(weight))


def test_it_has_no_operands_in_float64() -> None:
    assert "no float64" in refused(lambda: Portable().operands(pack(WEIGHT), torch.float64, torch.device("cpu")))


def test_operands_are_the_packed_form_in_the_dtype_asked_for() -> None:
    values, meta = Portable().operands(pack(WEIGHT.float()), torch.float16, torch.device("cpu"))
    packed = pack(WEIGHT)
    assert torch.equal(values, packed.values) and torch.equal(meta, packed.meta)
    whole = pack(WEIGHT, int8=True)
    values, meta, scales = Portable().operands(whole, torch.float16, torch.device("cpu"))
    assert torch.equal(unpack(replace(whole, values=values, meta=meta, scales=scales)), unpack(whole))
