"""The sparse-tensor-core kernel without a GPU: its PTX executed on the CPU through the real host code, its machine
code counted, and what it says of problems that it cannot compute."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

pytest.importorskip("triton")

from gpuless.compile import Compiled, compile
from gpuless.launch import launcher
from gpuless.sass import statistics, weight_bytes_per_instruction
from triton.experimental import gluon
from triton.experimental.gluon import language as gl

from recipelang.errors import Refusal
from recipelang.kernels.nm import mma_sp_gluon
from recipelang.kernels.nm.format import Packed, pack, unpack
from recipelang.kernels.nm.instructions_gluon import widen
from recipelang.kernels.nm.mma_sp import MAX_ROWS, MmaSp, Tiling, tilings
from recipelang.kernels.nm.problem import ACTIVATIONS, Device, Problem, activate
from recipelang.kernels.nm.reference import nm_mask

HOPPER = Device("cuda", "NVIDIA H200", (9, 0), triton=(3, 9))
CPU = torch.device("cpu")
FP16, BF16, INT8 = torch.float16, torch.bfloat16, torch.int8
#: Shared memory that a CTA may have where it has least: sm_86, sm_89 and sm_120.
LEAST_SHARED = 99 * 1024


def problem(rows: int, outputs: int, inputs: int, dtype: torch.dtype = FP16, **changes: Any) -> Problem:
    return replace(Problem(rows, outputs, inputs, dtype, HOPPER, dtype), **changes)


def packed_weight(outputs: int, inputs: int, dtype: torch.dtype, int8: bool) -> Packed:
    weight = torch.randn(outputs, inputs, generator=torch.Generator().manual_seed(outputs)).to(dtype)
    return pack(weight * nm_mask(weight.abs(), 2, 4), int8=int8)


def check(
    x: Tensor,
    packed: Packed,
    bias: Tensor | None,
    tiling: Tiling,
    activation: str = "none",
    kernel: MmaSp | None = None,
) -> Tensor:
    """Run the kernel and hold it against float64; the result, for further questions."""
    kernel = kernel or MmaSp()
    outputs, inputs = packed.shape
    asked = Problem(len(x), outputs, inputs, x.dtype, HOPPER, packed.values.dtype, bias is not None, activation)
    y = kernel.run(x, kernel.operands(packed, x.dtype, CPU), bias, asked, vars(tiling))
    assert y.shape == (len(x), outputs)
    assert y.dtype is x.dtype
    added = torch.zeros(1, dtype=torch.float64) if bias is None else bias.double()
    weight = unpack(packed, torch.float64)
    wanted = activate(x.double() @ weight.t() + added, activation)
    # Every partial sum is rounded to float32 at most once per input; an activation's slope is below 1.13, its own error
    # a few units in the last place of a float32; then one rounding to the dtype of the result.
    size = x.double().abs() @ weight.abs().t() + added.abs()
    bound = 1.2 * (inputs + 8) * 2.0**-24 * size + torch.finfo(x.dtype).eps * wanted.abs() + 1e-7
    assert ((y.double() - wanted).abs() <= bound).all(), f"off by {(y.double() - wanted).abs().max():.2e}"
    return y


def activations(rows: int, inputs: int, dtype: torch.dtype) -> Tensor:
    return torch.randn(rows, inputs, generator=torch.Generator().manual_seed(rows)).to(dtype)


GATHER = Tiling(TN=2, TB=1, U=2, W=2)
STAGED = Tiling(TN=1, TB=2, U=2, W=2, WN=2, STAGES=3)


@pytest.mark.parametrize(
    ("rows", "outputs", "inputs", "dtype", "int8", "activation", "capability", "tiling"),
    [
        # x gathered: one step, several, a ragged last one, K % 64, K % 8, K = 4, tiles beyond the outputs
        (1, 64, 256, FP16, False, "none", (8, 0), GATHER),
        (8, 48, 1024, BF16, False, "relu", (9, 0), GATHER),
        (5, 70, 1000, FP16, True, "gelu", (8, 0), GATHER),
        (7, 33, 644, BF16, True, "silu", (8, 0), replace(GATHER, TN=4)),
        (13, 20, 132, FP16, True, "gelu_tanh", (9, 0), Tiling(TN=1, TB=2, U=1, W=4)),
        (3, 5, 4, FP16, False, "none", (8, 0), Tiling(TN=1, TB=1, U=1, W=1)),
        (2, 16, 64, BF16, False, "none", (8, 0), Tiling(TN=1, TB=1, U=4, W=8)),
        # x in shared memory: the same, rows beyond a tile, as many and more buffers than steps
        (16, 64, 512, FP16, False, "none", (8, 0), STAGED),
        (13, 33, 1000, BF16, True, "silu", (8, 0), STAGED),
        (9, 33, 644, BF16, False, "gelu", (9, 0), replace(STAGED, STAGES=2)),
        (35, 70, 260, FP16, True, "none", (9, 0), Tiling(TN=2, TB=4, U=1, W=1, WN=4, STAGES=4)),
        (70, 40, 328, BF16, False, "relu", (8, 0), Tiling(TN=2, TB=8, U=2, W=1, WN=2, STAGES=3)),
        (3, 9, 12, FP16, False, "none", (8, 0), replace(STAGED, TB=1)),
        # parts of the inputs in programs of their own, some of them empty
        (5, 40, 512, FP16, True, "relu", (8, 0), replace(GATHER, SPLITS=2)),
        (9, 33, 900, BF16, False, "gelu_tanh", (8, 0), replace(STAGED, SPLITS=4)),
        (4, 300, 64, BF16, True, "none", (9, 0), replace(GATHER, TN=1, SPLITS=4)),
    ],
)
def test_agrees_with_float64(
    simulated: Callable[..., None],
    rows: int,
    outputs: int,
    inputs: int,
    dtype: torch.dtype,
    int8: bool,
    activation: str,
    capability: tuple[int, int],
    tiling: Tiling,
) -> None:
    simulated(capability)
    bias = torch.randn(outputs, generator=torch.Generator().manual_seed(7)).to(dtype) if outputs % 2 == 0 else None
    check(activations(rows, inputs, dtype), packed_weight(outputs, inputs, dtype, int8), bias, tiling, activation)


@gluon.jit
def all_bytes(codes, even, odd, BF16: gl.constexpr):  # type: ignore[no-untyped-def]
    layout: gl.constexpr = gl.BlockedLayout([1, 4], [32, 1], [1, 1], [1, 0])
    word = gl.arange(0, 32, layout=gl.SliceLayout(1, layout))[:, None] * 4
    word = word + gl.arange(0, 4, layout=gl.SliceLayout(0, layout))[None, :]
    first, second = widen(gl.load(codes + word), BF16)
    gl.store(even + word, first)
    gl.store(odd + word, second)


@pytest.mark.parametrize("dtype", [FP16, BF16])
@pytest.mark.parametrize("capability", [(8, 0), (9, 0)])
def test_every_byte_becomes_its_value_exactly(dtype: torch.dtype, capability: tuple[int, int]) -> None:
    codes = torch.randperm(256, generator=torch.Generator().manual_seed(0)).to(torch.uint8).repeat(2)
    even, odd = (torch.zeros(128, dtype=torch.int32) for _ in range(2))
    launcher(capability)(all_bytes, (1,), (codes.view(torch.int32), even, odd), {"BF16": dtype is BF16}, 1)
    wanted = codes.to(dtype) - 128
    assert torch.equal(even.view(dtype), wanted[0::2])
    assert torch.equal(odd.view(dtype), wanted[1::2])


def test_every_configuration_computes_the_same(simulated: Callable[..., None]) -> None:
    """Whichever of those that `configurations` offers is taken; and a second call gives the same bits."""
    simulated((9, 0))
    packed, x = packed_weight(48, 192, BF16, True), activations(6, 192, BF16)
    bias = torch.ones(48, dtype=BF16)
    offered = MmaSp().configurations(problem(6, 48, 192, BF16, values=INT8))
    for configuration in offered[:3]:
        y = check(x, packed, bias, Tiling(**configuration), "silu")
        assert torch.equal(y, check(x, packed, bias, Tiling(**configuration), "silu"))


def test_special_values_stay_where_they_are(simulated: Callable[..., None]) -> None:
    """An infinite weight and a row of NaN reach the results that they belong to and no other."""
    simulated()
    weight = torch.zeros(32, 64, dtype=FP16)
    weight[:, ::4] = 1
    weight[3, 4] = float("inf")
    x = torch.ones(3, 64, dtype=FP16)
    x[1] = float("nan")
    kernel, packed = MmaSp(), pack(weight)
    y = kernel.run(x, kernel.operands(packed, FP16, CPU), None, problem(3, 32, 64, bias=False), vars(GATHER))
    assert y[1].isnan().all()
    assert (y[[0, 2], 3] == float("inf")).all()
    others = [output for output in range(32) if output != 3]
    assert (y[[0, 2]][:, others] == 16).all()


def test_rows_that_are_none_or_lie_askew(simulated: Callable[..., None]) -> None:
    simulated()
    packed, kernel = packed_weight(16, 64, FP16, False), MmaSp()
    asked = problem(1, 16, 64, bias=False)
    operands = kernel.operands(packed, FP16, CPU)
    assert kernel.run(torch.empty(0, 64, dtype=FP16), operands, None, asked, vars(GATHER)).shape == (0, 16)
    askew = torch.zeros(3 * 64 + 1, dtype=FP16)[1:].view(3, 64).copy_(activations(3, 64, FP16))
    assert askew.data_ptr() % 16
    check(askew, packed, None, GATHER)


@pytest.mark.parametrize(
    ("x", "bias", "says"),
    [
        (torch.zeros(2, 60, dtype=FP16), None, "2×60"),
        (torch.zeros(2, 64), None, "float32"),
        (torch.zeros(64, 2, dtype=FP16).t(), None, "not contiguous"),
        (torch.zeros(2, 64, dtype=FP16), torch.zeros(15, dtype=FP16), "15"),
        (torch.zeros(2, 64, dtype=FP16, device="meta"), None, "meta"),
    ],
)
def test_what_does_not_fit_is_refused(x: Tensor, bias: Tensor | None, says: str) -> None:
    kernel = MmaSp()
    operands = kernel.operands(packed_weight(16, 64, FP16, False), FP16, CPU)
    with pytest.raises(Refusal) as refused:
        kernel.run(x, operands, bias, problem(2, 16, 64), vars(GATHER))
    assert refused.value.code == "RCP1304"
    assert says in refused.value.message


def test_a_damaged_weight_never_reaches_the_instruction() -> None:
    packed = packed_weight(16, 64, FP16, False)
    packed.meta[3, 1] = 0
    with pytest.raises(Refusal) as refused:
        MmaSp().operands(packed, FP16, CPU)
    assert refused.value.code == "RCP1302"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"device": Device("cpu", triton=(3, 9))}, "CPU"),
        ({"device": replace(HOPPER, name="Tesla T4", capability=(7, 5))}, "no sparse tensor cores"),
        ({"device": replace(HOPPER, capability=(13, 0))}, "13.0"),
        ({"device": replace(HOPPER, triton=None)}, "not installed"),
        ({"device": replace(HOPPER, triton=(3, 5))}, "3.5"),
        ({"dtype": torch.float32, "values": torch.float32}, "float32"),
        ({"values": torch.float32}, "float32"),
        ({"inputs": 66}, "66"),
        ({"rows": MAX_ROWS + 1}, "129 rows"),
        ({"activation": "mish"}, "mish"),
    ],
)
def test_says_why_not(changes: dict[str, Any], says: str) -> None:
    reason = MmaSp().why_not(replace(problem(8, 64, 64), **changes))
    assert reason is not None
    assert says in reason


@pytest.mark.parametrize("capability", [(8, 0), (8, 6), (8, 9), (9, 0), (10, 0), (12, 0)])
def test_takes_what_it_can_compute(capability: tuple[int, int]) -> None:
    for dtype in (FP16, BF16):
        for values in (dtype, INT8):
            for activation in ACTIVATIONS:
                device = replace(HOPPER, capability=capability)
                asked = problem(MAX_ROWS, 7, 12, dtype, values=values, activation=activation, device=device)
                assert MmaSp().why_not(asked) is None


@pytest.mark.parametrize("rows", [1, 8, 9, 16, 17, 32, 33, 64, 65, 128])
@pytest.mark.parametrize("shape", [(4096, 4096), (14336, 4096), (768, 3072), (1024, 11008), (4, 4)])
def test_configurations_are_few_distinct_and_busy(rows: int, shape: tuple[int, int]) -> None:
    offered = MmaSp().configurations(problem(rows, *shape))
    assert 1 <= len(offered) <= 8
    assert len({tuple(configuration.items()) for configuration in offered}) == len(offered)
    first = Tiling(**offered[0])
    across, down, parts = first.programs(rows, shape[0])
    assert across * first.outputs >= shape[0]
    assert down * first.rows >= rows
    if shape[0] * shape[1] >= 2**24:
        assert across * down * parts >= 128  # enough for the 132 processors of an H200


# ---- machine code --------------------------------------------------------------------------------------------------


def every_tiling() -> list[Tiling]:
    """All that differ in their loop."""
    seen = {replace(tiling, SPLITS=1) for rows in (8, 16, 32, 64) for tiling in tilings(rows)}
    return sorted(seen, key=lambda tiling: tuple(vars(tiling).values()))


def compiled(tiling: Tiling, dtype: torch.dtype, narrow: bool, even: bool, capability: tuple[int, int]) -> Compiled:
    words, floats, scales = torch.zeros(64, dtype=torch.int32), torch.zeros(64, dtype=dtype), torch.zeros(64)
    constants = {**vars(tiling), "VEC": 4, "EVEN": even, "BF16": dtype is BF16, "NARROW": narrow}
    constants |= {"BIASED": True, "ACTIVATION": "silu"}
    arguments = (words, words, words, floats, scales, floats, 5, 4096, 4096 // 8, 4096 // 16, 4096 // 64)
    return compile(mma_sp_gluon.product, arguments, constants, tiling.W * tiling.WN, capability)


@pytest.mark.parametrize("tiling", every_tiling(), ids=lambda tiling: "-".join(map(str, vars(tiling).values())))
def test_no_tiling_spills(tiling: Tiling) -> None:
    """With 16-bit values, which take most registers; where there are many sums also with bytes for bf16, which take
    most on the way to the instruction."""
    for dtype, narrow in ((FP16, False), (BF16, True))[: 1 + (tiling.TB == 8)]:
        built = compiled(tiling, dtype, narrow, even=False, capability=(8, 0))
        counted = statistics(built)
        assert counted.spills == 0
        assert counted.stack_bytes == 0
        assert counted.shared_bytes <= LEAST_SHARED
        # The compiler may unroll the loop.
        passes = counted.count("HMMA.SP.16832.F32", loop=True) / (2 * tiling.TN * tiling.TB * tiling.U)
        assert passes >= 1
        assert counted.count("LDG.E.128", loop=True) == passes * tiling.TN * tiling.U * (1 if narrow else 2)
        assert counted.count("LDSM", loop=True) == (passes * 2 * tiling.TB * tiling.U if tiling.STAGES else 0)


@pytest.mark.parametrize(
    ("tiling", "wide", "narrow", "narrow_bf16"),
    [
        (Tiling(TN=2, TB=1, U=4, W=4), 80, 22, 15),
        (Tiling(TN=4, TB=2, U=2, W=4), 75, 20, 14),
        (Tiling(TN=2, TB=4, U=2, W=1, WN=4, STAGES=3), 34, 13, 10),
        (Tiling(TN=2, TB=8, U=2, W=1, WN=4, STAGES=3), 22, 9, 7.5),
    ],
)
def test_bytes_of_weight_for_each_instruction(tiling: Tiling, wide: float, narrow: float, narrow_bf16: float) -> None:
    """Floors a little below what was counted. An H200 reads 18.6 bytes per clock and processor and issues at most four
    instructions in it: 5 bytes for each is the least that keeps its memory busy."""
    for floor, dtype, eight in ((wide, FP16, False), (narrow, FP16, True), (narrow_bf16, BF16, True)):
        built = compiled(tiling, dtype, eight, even=True, capability=(9, 0))
        assert weight_bytes_per_instruction(built, 320 if eight else 576, tiling.TB) >= floor
        assert statistics(built).spills == 0


@pytest.mark.parametrize("capability", [(8, 9), (10, 0), (12, 0)])
def test_compiles_to_sparse_instructions_on_other_generations(capability: tuple[int, int]) -> None:
    for tiling in (GATHER, STAGED):
        counted = statistics(compiled(tiling, BF16, True, even=False, capability=capability))
        assert counted.count("HMMA.SP") > 0
        assert counted.spills == 0
