"""The vendor's kernels through a stand-in for `torch._cslt_*`: its signature, its rules of shape, and its faults."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from recipelang.kernels.nm import cusparselt
from recipelang.kernels.nm.chooser import decide
from recipelang.kernels.nm.cusparselt import CuSparseLt
from recipelang.kernels.nm.dense import Dense
from recipelang.kernels.nm.format import Packed, pack, unpack
from recipelang.kernels.nm.operations import Way, multiply, to_text
from recipelang.kernels.nm.problem import ACTIVATIONS, Device, Problem, activate
from recipelang.kernels.nm.reference import nm_mask
from recipelang.kernels.nm.trials import agrees, reference, try_all

GPU = Device("cuda", "Test GPU", (9, 0), (3, 6), 801, 50 << 20)
CPU = torch.device("cpu")
#: Algorithms that the stand-in has, and the one among them that is wrong now and then (pytorch#155333).
COUNT, WRONG = 5, 3


def compress(weight: Tensor) -> Tensor:
    """9 bits for each weight of 16, as torch lays them out: one row for each output."""
    assert weight.ndim == 2 and weight.is_contiguous() and weight.dtype in (torch.float16, torch.bfloat16)
    assert not weight.shape[0] % 16 and not weight.shape[1] % 16
    packed = pack(weight)
    words = packed.meta.view(torch.int16)[:, : weight.shape[1] // 16]
    return torch.cat((packed.values.view(torch.int16), words), dim=1).view(weight.dtype)


def decompress(compressed: Tensor) -> Tensor:
    outputs, width = compressed.shape
    inputs = width * 16 // 9
    words = compressed[:, inputs // 2 :].contiguous().view(torch.int16)
    words = functional.pad(words, (0, inputs // 16 % 2), value=0x4444)
    return unpack(Packed(compressed[:, : inputs // 2].contiguous(), words.contiguous().view(torch.int32)))


@pytest.fixture
def vendor(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """From here on torch has cuSPARSELt on the CPU. The numbers of the algorithms that were called."""
    called: list[int] = []

    def sparse_mm(compressed_A: Tensor, dense_B: Tensor, **options: Any) -> Tensor:
        bias, number = options.get("bias"), options.get("alg_id", 0)
        called.append(number)
        if number >= COUNT:
            raise RuntimeError("CUDA error: invalid value when calling `cusparseLtMatmulAlgSetAttribute( ... )`")
        # Shapes, dtypes and names of arguments as torch's own registration has them.
        there = options | {"bias": None if bias is None else bias.to("meta")}
        shape = torch.ops.aten._cslt_sparse_mm(compressed_A.to("meta"), dense_B.to("meta"), **there).shape
        assert dense_B.is_contiguous() or dense_B.t().is_contiguous(), "any other stride is read as one of these"
        assert not any(size % 8 for size in dense_B.shape)
        assert bias is None or (bias.dtype == dense_B.dtype and bias.is_contiguous())
        for tensor in (compressed_A, dense_B, bias):
            assert tensor is None or tensor.data_ptr() % 16 == 0, "misaligned address"
        y = decompress(compressed_A).float() @ dense_B.float()
        y = y if bias is None else y + bias.float()[:, None]
        y = y * (1.5 if number == WRONG and called.count(WRONG) % 3 == 0 else 1.0)
        y = y.t() if options.get("transpose_result") else y
        assert y.shape == shape
        return y.to(dense_B.dtype).contiguous()

    monkeypatch.setattr(torch, "_cslt_compress", compress)
    monkeypatch.setattr(torch, "_cslt_sparse_mm", sparse_mm)
    monkeypatch.setattr(cusparselt, "algorithms", lambda dtype: COUNT + 1)
    yield called


def weight(outputs: int, inputs: int, dtype: torch.dtype, *, int8: bool = False) -> Packed:
    dense = torch.randn(outputs, inputs, generator=torch.Generator().manual_seed(outputs))
    return pack((dense * nm_mask(dense.abs(), 2, 4)).to(dtype), int8=int8)


class Clock:
    """Everything takes as long as its place among the samplers."""

    def __init__(self) -> None:
        self.asked = 0

    def sampler(self, calls: Sequence[Callable[[], Tensor]]) -> Callable[[], float]:
        self.asked += 1
        for call in calls:
            call()
        return lambda seconds=10.0 - self.asked: seconds


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("int8", [False, True])
@pytest.mark.parametrize("rows", [1, 8, 13])
def test_every_algorithm_is_tried_and_wrong_ones_are_left_out(
    vendor: list[int], dtype: torch.dtype, int8: bool, rows: int
) -> None:
    packed = weight(32, 48, dtype, int8=int8)
    asked = Problem(rows, 32, 48, dtype, GPU, packed.values.dtype, True, "gelu")
    trials = try_all(asked, packed, (Dense(), CuSparseLt()), Clock(), CPU, copies=3)
    told = {t.configuration.get("algorithm"): t.refused for t in trials if t.kernel == "cuSPARSELt"}
    assert {number for number, refused in told.items() if not refused} == {0, 1, 2, 4}
    assert told[WRONG] == "its result was wrong"
    assert "cusparseLtMatmulAlgSetAttribute" in told[COUNT]
    assert decide(trials, ("dense", "cuSPARSELt"), "latency").configuration == {"algorithm": 4}


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("bias", [False, True])
def test_it_computes_the_product(vendor: list[int], activation: str, bias: bool) -> None:
    packed = weight(64, 32, torch.float16)
    asked = Problem(5, 64, 32, torch.float16, GPU, torch.float16, bias, activation)
    x = torch.randn(5, 32, generator=torch.Generator().manual_seed(1)).half()
    added = torch.randn(64, generator=torch.Generator().manual_seed(2)).half() if bias else None
    kernel = CuSparseLt()
    y = kernel.run(x, kernel.operands(packed, torch.float16, CPU), added, asked, {"algorithm": 0})
    assert y.is_contiguous()
    assert agrees(y, *reference(asked, packed, x, added))


def test_what_is_not_aligned_is_copied(vendor: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recipelang.kernels.nm.operations.describe", lambda device: GPU)
    packed, kernel = weight(16, 16, torch.float16), CuSparseLt()
    memory = torch.randn(1 + 8 * 16, generator=torch.Generator().manual_seed(1)).half()
    x, bias = memory[1:].view(8, 16), memory[3:19]
    ways = to_text([Way("cuSPARSELt", {"algorithm": 1}, None, (0, 1))])
    y = multiply(x, kernel.operands(packed, torch.float16, CPU), bias, 16, False, "relu", ways)
    wanted = activate(functional.linear(x.float(), unpack(packed).float(), bias.float()), "relu")
    torch.testing.assert_close(y.float(), wanted, rtol=2e-3, atol=2e-3)
    assert vendor == [1]


@pytest.mark.parametrize(("answered", "count"), [(37, 37), (0, 1), (10_000, cusparselt.MOST_ALGORITHMS)])
def test_the_library_is_asked_how_many_algorithms_it_has(
    monkeypatch: pytest.MonkeyPatch, answered: int, count: int
) -> None:
    """Four numbers, the last the one that is looked for: `mm_search` of torch 2.6 and later."""
    zeros = torch.zeros
    monkeypatch.setattr(torch, "zeros", lambda *shape, dtype, device: zeros(*shape, dtype=dtype))
    monkeypatch.setattr(torch, "_cslt_compress", compress)
    search = lambda a, b, bias, alpha, out, transpose: (3, 1, -1, answered)  # noqa: E731
    monkeypatch.setattr(torch._C._cusparselt, "mm_search", search)
    cusparselt.algorithms.cache_clear()
    try:
        assert cusparselt.algorithms(torch.float16) == count
    finally:
        cusparselt.algorithms.cache_clear()


def test_where_it_cannot_be_asked_the_first_ones_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(weight: Tensor) -> Tensor:
        raise RuntimeError("cuSPARSELt not supported on your machine.")

    monkeypatch.setattr(torch, "_cslt_compress", gone)
    cusparselt.algorithms.cache_clear()
    assert cusparselt.algorithms(torch.bfloat16) == cusparselt.ALGORITHMS
    cusparselt.algorithms.cache_clear()
