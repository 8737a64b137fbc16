"""Faults planted into the sparse-tensor-core kernel: a test that executes its PTX must notice every one of them.

Each is a change of the emitted PTX or of what the kernel reads. Noticed means: other numbers than in float64, or an
error of the simulator.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

pytest.importorskip("triton")

from gpuless.launch import launcher
from gpuless.ptx.faults import BadAccess, Fault, Race, TooEarly, Undefined

from recipelang.kernels.nm import launch
from recipelang.kernels.nm.format import pack, unpack
from recipelang.kernels.nm.mma_sp import MmaSp, Tiling
from recipelang.kernels.nm.problem import Device, Problem
from recipelang.kernels.nm.reference import nm_mask

#: Nothing is a multiple of its tile: 13 rows of 16, 70 outputs of 32 or 64, 900 inputs of steps of 256.
ROWS, OUTPUTS, INPUTS = 13, 70, 900
STAGED = Tiling(TN=1, TB=2, U=2, W=2, WN=2, STAGES=3)
GATHERED = replace(STAGED, STAGES=0)
AMPERE = Device("cuda", "NVIDIA A100", (8, 0), triton=(3, 9))

Edit = Callable[[str], str]
Operands = tuple[torch.Tensor, ...]


def verdict(
    monkeypatch: pytest.MonkeyPatch,
    tiling: Tiling,
    edit: Edit | None = None,
    damage: Callable[[Operands], Operands] = lambda operands: operands,
    int8: bool = False,
) -> str:
    """ "right", "wrong", or the name of the simulator's error."""

    def edited(ptx: str) -> str:
        changed = edit(ptx) if edit else ptx
        assert edit is None or changed != ptx, "there was nothing to change"
        return changed

    monkeypatch.setattr(launch, "launch", launcher((8, 0), edit=edited))
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(OUTPUTS, INPUTS, generator=generator).half()
    packed = pack(weight * nm_mask(weight.abs(), 2, 4), int8=int8)
    x = torch.randn(ROWS, INPUTS, generator=generator).half()
    problem = Problem(ROWS, OUTPUTS, INPUTS, x.dtype, AMPERE, packed.values.dtype, bias=False)
    kernel = MmaSp()
    operands = damage(kernel.operands(packed, x.dtype, x.device))
    try:
        y = kernel.run(x, operands, None, problem, dict(vars(tiling)))
    except Fault as fault:
        return type(fault).__name__
    exact = x.double() @ unpack(packed, torch.float64).t()
    size = x.double().abs() @ unpack(packed, torch.float64).abs().t()
    bound = INPUTS * 2.0**-24 * size + torch.finfo(x.dtype).eps * exact.abs()
    return "right" if ((y.double() - exact).abs() <= bound).all() else "wrong"


@pytest.mark.parametrize("int8", [False, True])
@pytest.mark.parametrize("tiling", [STAGED, GATHERED], ids=["staged", "gathered"])
def test_without_a_fault_it_is_right(monkeypatch: pytest.MonkeyPatch, tiling: Tiling, int8: bool) -> None:
    assert verdict(monkeypatch, tiling, int8=int8) == "right"


def substituted(pattern: str, by: str | Callable[[re.Match[str]], str]) -> Edit:
    """Every match of a pattern by something else."""
    return lambda ptx: re.sub(pattern, by, ptx)


def every_product(change: Callable[[list[list[str]]], list[list[str]]]) -> Edit:
    """Change the operands of every mma.sp: d, a, b, c as lists of registers, then [metadata], [selector]."""

    def edited(match: re.Match[str]) -> str:
        vectors = [re.split(r",\s*", inner) for inner in re.findall(r"\{([^}]*)\}", match[2])]
        tail = [[part] for part in re.split(r",\s*", match[2].rpartition("}")[2].strip(", "))]
        *vectors, metadata, selector = change(vectors + tail)
        text = ", ".join("{" + ", ".join(vector) + "}" for vector in vectors)
        return f"{match[1]} {text}, {metadata[0]}, {selector[0]};"

    return substituted(r"(mma\.sp\S+) ([^;]*);", edited)


def swapped(operand: int, one: int, other: int) -> Callable[[list[list[str]]], list[list[str]]]:
    def change(vectors: list[list[str]]) -> list[list[str]]:
        registers = vectors[operand]
        registers[one], registers[other] = registers[other], registers[one]
        return vectors

    return change


def other_selector(vectors: list[list[str]]) -> list[list[str]]:
    return [*vectors[:5], ["0x1" if int(vectors[5][0], 0) == 0 else "0x0"]]


@pytest.mark.parametrize("tiling", [STAGED, GATHERED], ids=["staged", "gathered"])
@pytest.mark.parametrize(
    "change",
    [*(swapped(1, i, j) for i in range(4) for j in range(i)), *(swapped(2, i, j) for i in range(4) for j in range(i))],
)
def test_swapped_registers(monkeypatch: pytest.MonkeyPatch, tiling: Tiling, change: Callable) -> None:
    assert verdict(monkeypatch, tiling, every_product(change)) == "wrong"


@pytest.mark.parametrize(("one", "other"), [(0, 1), (0, 2), (1, 3)])
def test_swapped_results(monkeypatch: pytest.MonkeyPatch, one: int, other: int) -> None:
    assert verdict(monkeypatch, STAGED, every_product(swapped(0, one, other))) == "wrong"


def test_the_wrong_sparsity_selector(monkeypatch: pytest.MonkeyPatch) -> None:
    assert verdict(monkeypatch, STAGED, every_product(other_selector)) == "wrong"


def with_meta(change: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Operands], Operands]:
    return lambda operands: (operands[0], change(operands[1]).contiguous(), *operands[2:])


@pytest.mark.parametrize(
    ("change", "outcome"),
    [
        (lambda meta: meta.view(torch.int16).reshape(*meta.shape, 2).flip(-1).reshape(-1).view(torch.int32), "wrong"),
        (torch.zeros_like, Undefined.__name__),
        (lambda meta: torch.full_like(meta, 0x44444444), "wrong"),
        (lambda meta: meta.roll(1, dims=-1), "wrong"),
        (lambda meta: meta.reshape(*meta.shape[:2], 8, 4).transpose(-1, -2).reshape(meta.shape), "wrong"),
    ],
    ids=["halves swapped", "zeroed", "first two everywhere", "one lane on", "lanes transposed"],
)
def test_damaged_metadata(monkeypatch: pytest.MonkeyPatch, change: Callable, outcome: str) -> None:
    def damaged(meta: torch.Tensor) -> torch.Tensor:
        return change(meta).view(meta.shape)

    assert verdict(monkeypatch, GATHERED, damage=with_meta(damaged)) == outcome


@pytest.mark.parametrize("int8", [False, True])
def test_values_in_another_order(monkeypatch: pytest.MonkeyPatch, int8: bool) -> None:
    def damage(operands: Operands) -> Operands:
        return (operands[0].transpose(-1, -2).contiguous().view(operands[0].shape), *operands[1:])

    assert verdict(monkeypatch, STAGED, damage=damage, int8=int8) == "wrong"


def without(pattern: str, last: bool = False, before_the_last_product: bool = False) -> Edit:
    """Drop all instructions of this kind, or the last one, or those before the last mma.sp."""

    def edited(ptx: str) -> str:
        end = ptx.rindex("mma.sp") if before_the_last_product else len(ptx)
        found = [match.span() for match in re.finditer(pattern, ptx) if match.end() <= end]
        for start, stop in reversed(found[-1:] if last else found):
            ptx = ptx[:start] + ptx[stop:]
        return ptx

    return edited


BARRIER = r"bar\.sync\s+0;"


@pytest.mark.parametrize(
    ("edit", "outcome"),
    [
        (without(BARRIER), Race),
        (without(BARRIER, last=True), Race),
        (without(BARRIER, before_the_last_product=True), Race),
        (without(r"cp\.async\.wait_group\s+\d+;"), TooEarly),
        (without(r"cp\.async\.wait_group\s+\d+;", last=True), TooEarly),
        (without(r"cp\.async\.commit_group;"), TooEarly),
        (substituted(r"cp\.async\.wait_group\s+1;", "cp.async.wait_group 2;"), TooEarly),
        (substituted(BARRIER, "bar.warp.sync -1;"), Race),
    ],
)
def test_missing_order(monkeypatch: pytest.MonkeyPatch, edit: Edit, outcome: type[Fault]) -> None:
    assert verdict(monkeypatch, STAGED, edit) == outcome.__name__


@pytest.mark.parametrize("tiling", [STAGED, GATHERED], ids=["staged", "gathered"])
def test_a_reduction_without_its_barrier(monkeypatch: pytest.MonkeyPatch, tiling: Tiling) -> None:
    assert verdict(monkeypatch, tiling, without(BARRIER, last=True)) == Race.__name__


@pytest.mark.parametrize("tiling", [STAGED, GATHERED], ids=["staged", "gathered"])
def test_results_beyond_the_last_row(monkeypatch: pytest.MonkeyPatch, tiling: Tiling) -> None:
    unmasked = substituted(r"@%p\d+ (st\.global)", r"\1")
    assert verdict(monkeypatch, tiling, unmasked) in (BadAccess.__name__, Race.__name__)


def test_rows_of_x_beyond_the_last_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    unmasked = substituted(r"(cp\.async\.c[ag]\.shared\.global [^,]*, [^,]*, 0x\w+), %r\d+;", r"\1;")
    assert verdict(monkeypatch, STAGED, unmasked) == BadAccess.__name__
    unclamped = substituted(r"min\.s32\s+(%r\d+), (%r\d+), %r\d+;", r"mov.b32 \1, \2;")
    assert verdict(monkeypatch, GATHERED, unclamped) == BadAccess.__name__


@pytest.mark.parametrize("tiling", [STAGED, GATHERED], ids=["staged", "gathered"])
def test_loads_without_their_masks(monkeypatch: pytest.MonkeyPatch, tiling: Tiling) -> None:
    unmasked = substituted(r"@!?%p\d+ (ld\.global)", r"\1")
    assert verdict(monkeypatch, tiling, unmasked) == BadAccess.__name__


def test_sums_that_do_not_start_at_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    started_at_one = substituted(r"(mov\.b32\s+%r\d+, )0f00000000;", r"\g<1>0f3F800000;")
    assert verdict(monkeypatch, GATHERED, started_at_one) == "wrong"


def test_sums_of_a_step_that_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    def fresh(vectors: list[list[str]]) -> list[list[str]]:
        return [*vectors[:3], ["0f00000000"] * 4, *vectors[4:]]

    assert verdict(monkeypatch, STAGED, every_product(fresh)) == "wrong"


def test_a_scale_applied_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    again = substituted(r"mul\.f32\s+(%r\d+), (%r\d+), (%r\d+);", r"mul.f32 \1, \2, \3; mul.f32 \1, \1, \3;")
    assert verdict(monkeypatch, STAGED, again, int8=True) == "wrong"
    never = substituted(r"mul\.f32\s+(%r\d+), (%r\d+), (%r\d+);", r"mov.b32 \1, \2;")
    assert verdict(monkeypatch, STAGED, never, int8=True) == "wrong"


def test_bytes_widened_with_another_bias(monkeypatch: pytest.MonkeyPatch) -> None:
    assert verdict(monkeypatch, STAGED, substituted("0x64806480", "0x64816481"), int8=True) == "wrong"
    assert verdict(monkeypatch, STAGED, substituted("0x4240", "0x4140"), int8=True) == "wrong"


def test_matrices_loaded_the_other_way(monkeypatch: pytest.MonkeyPatch) -> None:
    transposed = substituted(r"(ldmatrix\S+)\.shared", r"\1.trans.shared")
    assert verdict(monkeypatch, STAGED, transposed) == "wrong"
