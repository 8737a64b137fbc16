"""What is tried is verified, and what is wrong is never timed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from gpuless.pretended import Pretended
from gpuless.scripted import Scripted, problem, weight
from torch import Tensor
from torch.nn import functional

from recipelang.errors import Refusal
from recipelang.kernels.nm import trials as trials_module
from recipelang.kernels.nm.dense import Dense
from recipelang.kernels.nm.device import answers
from recipelang.kernels.nm.format import Packed, pack, unpack
from recipelang.kernels.nm.problem import Problem, activate
from recipelang.kernels.nm.trials import Trial, agrees, reference, try_all

CPU = torch.device("cpu")


def test_every_configuration_is_timed_in_turns_and_the_hopeless_are_dropped() -> None:
    timer = Scripted([10.0, 5.0, 9.0, 5.5])
    kernel = Pretended(tiles=({"tile": 1}, {"tile": 2}, {"tile": 3}))
    found = try_all(problem(), weight(), (Dense(), kernel), timer, CPU)
    assert [(t.kernel, dict(t.configuration), t.seconds) for t in found] == [
        ("dense", {}, 10.0),
        ("pretended", {"tile": 1}, 5.0),
        ("pretended", {"tile": 2}, 9.0),
        ("pretended", {"tile": 3}, 5.5),
    ]
    assert timer.samples[:4] == [0, 1, 2, 3]
    assert timer.samples.count(2) < timer.samples.count(1) == timer.samples.count(0)


def test_inputs_are_such_that_activations_are_told_apart() -> None:
    """Of large numbers GELU is ReLU, and of small ones all are the same."""
    for size in (1e-2, 1.0, 1e2):
        packed = weight(inputs=1024)
        packed = Packed((packed.values.float() * size).half(), packed.meta)
        wrong = Pretended(spoil=lambda y: torch.relu(y))
        found = try_all(problem(inputs=1024, activation="gelu"), packed, (Dense(), wrong), Scripted([1.0, 0.1]), CPU)
        assert found[-1].refused == "its result was wrong"


def zero_one(y: Tensor) -> Tensor:
    return y.index_fill(1, torch.tensor([3]), 0.0)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda y: y * 1.02,
        lambda y: torch.full_like(y, float("nan")),
        zero_one,
        lambda y: y.roll(1, dims=0),
        lambda y: y[:-1],
        lambda y: y + 0.05 * y.float().std().half(),
    ],
    ids=["scaled", "nan", "one output missing", "rows shifted", "too short", "an offset"],
)
def test_a_wrong_result_is_never_timed(spoil: Callable[[Tensor], Tensor]) -> None:
    timer = Scripted([1.0, 0.1])
    found = try_all(problem(), weight(), (Dense(), Pretended(spoil=spoil)), timer, CPU)
    assert [t.refused for t in found] == ["", "its result was wrong"]
    assert timer.samplers == 1


def test_a_result_that_is_wrong_now_and_then_is_found() -> None:
    calls: list[int] = []

    def at_times(y: Tensor) -> Tensor:
        calls.append(1)
        return y * (1.1 if len(calls) == 3 else 1.0)

    found = try_all(problem(), weight(), (Dense(), Pretended(spoil=at_times)), Scripted([1.0, 0.1]), CPU)
    assert found[-1].refused == "its result was wrong"


def test_a_kernel_that_raises_is_left_out_with_its_words() -> None:
    def fail(y: Tensor) -> Tensor:
        raise RuntimeError("CUDA error: operation not supported\nand more lines")

    found = try_all(problem(), weight(), (Dense(), Pretended(spoil=fail)), Scripted([1.0]), CPU)
    assert found[-1].refused == "it failed: RuntimeError: CUDA error: operation not supported"


def test_a_kernel_that_breaks_the_gpu_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """After an illegal access every call fails, whichever kernel it is of."""

    def fail(y: Tensor) -> Tensor:
        monkeypatch.setattr(trials_module, "answers", lambda device: False)
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

    with pytest.raises(Refusal, match="`pretended` tile=1 broke `cpu` .* an illegal memory access") as refused:
        try_all(problem(), weight(), (Dense(), Pretended(spoil=fail)), Scripted([1.0]), CPU)
    assert refused.value.code == "RCP1307"


def test_a_device_answers_until_it_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(device: torch.device) -> None:
        raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

    assert answers(CPU)
    monkeypatch.setattr(torch.cuda, "synchronize", fail)
    assert not answers(torch.device("cuda"))


def test_a_refusal_is_kept_with_its_reason() -> None:
    found = try_all(problem(), weight(), (Dense(), Pretended(refuses="no such GPU")), Scripted([1.0]), CPU)
    assert found[-1] == Trial("pretended", {}, None, "no such GPU")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("activation", ["none", "relu", "gelu", "gelu_tanh", "silu"])
def test_rounding_alone_is_no_fault(dtype: torch.dtype, activation: str) -> None:
    asked = problem(dtype=dtype, activation=activation, inputs=1024)
    packed = pack(unpack(weight(32, 1024)).to(dtype))
    x = torch.randn(8, 1024, generator=torch.Generator().manual_seed(1)).to(dtype)
    bias = torch.randn(32, generator=torch.Generator().manual_seed(2)).to(dtype)
    expected, allowed = reference(asked, packed, x, bias)
    dense = activate(functional.linear(x.float(), unpack(packed).float(), bias.float()), activation).to(dtype)
    assert agrees(dense, expected, allowed)
    # As a split sum does that is added up in the short format.
    wide, long = x.float(), unpack(packed).float()
    halves = [functional.linear(wide[:, k], long[:, k]).to(dtype) for k in (slice(512), slice(512, None))]
    assert agrees(activate(halves[0] + halves[1] + bias, activation), expected, allowed)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("parts", [2, 8, 32])
@pytest.mark.parametrize("inputs", [1024, 14336])
def test_parts_that_are_added_up_in_the_short_format_are_no_fault(dtype: torch.dtype, parts: int, inputs: int) -> None:
    """As cuBLAS may: every part rounded, the sum rounded after each, the bias added and rounded again."""
    asked = problem(dtype=dtype, rows=64, outputs=256, inputs=inputs)
    packed = pack(unpack(weight(256, inputs)).to(dtype))
    x = torch.randn(64, inputs, generator=torch.Generator().manual_seed(1)).to(dtype)
    bias = torch.randn(256, generator=torch.Generator().manual_seed(2)).to(dtype)
    expected, allowed = reference(asked, packed, x, bias)
    total = torch.zeros(64, 256, dtype=dtype)
    for k in torch.arange(inputs).chunk(parts):
        total += functional.linear(x[:, k].float(), unpack(packed)[:, k].float()).to(dtype)
    assert agrees(total + bias, expected, allowed)


def test_a_long_sum_in_float32_is_no_fault() -> None:
    asked = problem(dtype=torch.float32, rows=64, outputs=64, inputs=14336)
    packed = pack(unpack(weight(64, 14336), torch.float32))
    x = torch.randn(64, 14336, generator=torch.Generator().manual_seed(1))
    expected, allowed = reference(asked, packed, x, None)
    total = torch.zeros(64, 64)
    for k in torch.arange(14336).chunk(1792):
        total += functional.linear(x[:, k], unpack(packed)[:, k])
    assert agrees(total, expected, allowed)
    assert not agrees(total * 1.0001, expected, allowed)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("activation", ["none", "gelu"])
@pytest.mark.parametrize("fault", ["scaled", "a group missing", "bias twice", "another activation"])
def test_small_faults_are_seen_in_long_sums(dtype: torch.dtype, activation: str, fault: str) -> None:
    asked = problem(dtype=dtype, rows=16, outputs=256, inputs=4096, activation=activation)
    dense = (unpack(weight(256, 4096)).float() / 45).to(dtype).float()  # results of the size of 1
    x = torch.randn(16, 4096, generator=torch.Generator().manual_seed(1)).to(dtype)
    bias = torch.randn(256, generator=torch.Generator().manual_seed(2)).to(dtype)
    expected, allowed = reference(asked, pack(dense.to(dtype)), x, bias)
    if fault == "a group missing":
        dense[:, 64:68] = 0
    y = functional.linear(x.float(), dense, bias.float() * (2 if fault == "bias twice" else 1))
    y = torch.relu(y) if fault == "another activation" else activate(y, activation)
    assert not agrees((y * (1.02 if fault == "scaled" else 1)).to(dtype), expected, allowed)


def test_of_many_rows_some_are_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tile of 16 rows that is wrong, and one column of tiles, and a result that is too short by rows that are not."""

    def tile(y: Tensor) -> Tensor:
        return y.index_fill(0, torch.arange(480, 496), 0.0)

    def every_eighth(y: Tensor) -> Tensor:
        return y.index_fill(0, torch.arange(5, 1000, 8), 0.0)

    monkeypatch.setattr(trials_module, "VERIFIED_ROWS", 150)
    largest: list[int] = []

    def watched(asked: Problem, packed: Packed, x: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
        largest.append(len(x))
        return reference(asked, packed, x, bias)

    monkeypatch.setattr(trials_module, "reference", watched)
    for spoil, refused in ((tile, True), (every_eighth, True), (lambda y: y[:-1], True), (lambda y: y, False)):
        found = try_all(problem(rows=1000), weight(), (Dense(), Pretended(spoil=spoil)), Scripted([1.0, 0.1]), CPU)
        assert (found[-1].refused == "its result was wrong") is refused
    assert set(largest) == {150}


def test_dense_is_the_measure_and_is_not_judged() -> None:
    @dataclass(frozen=True)
    class Coarse(Dense):
        def run(self, *args: Any) -> Tensor:
            return super().run(*args) * 1.5

    found = try_all(problem(), weight(), (Coarse(), Pretended()), Scripted([1.0, 0.1]), CPU)
    assert [(t.kernel, t.seconds) for t in found] == [("dense", 1.0), ("pretended", 0.1)]
