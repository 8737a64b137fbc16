"""Weights and results of more than 2³¹ elements: the compiled kernels compute the last tile of one, of which no more
than that tile exists."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

pytest.importorskip("triton")

from gpuless.launch import launcher
from gpuless.ptx.faults import BadAccess
from gpuless.ptx.global_memory import Distant

from recipelang.kernels.nm import launch
from recipelang.kernels.nm.format import pack, unpack
from recipelang.kernels.nm.mma_sp import MmaSp, Tiling
from recipelang.kernels.nm.portable import FEW, Portable
from recipelang.kernels.nm.problem import Configuration, Device, Kernel, Problem
from recipelang.kernels.nm.reference import nm_mask

AMPERE = Device("cuda", "NVIDIA A100", (8, 0), triton=(3, 9))
OUTPUTS, INPUTS = 64, 128
#: Outputs before those that exist: their values alone are 2³³ elements, or bytes where they are int8.
BEFORE = 2**27

Arguments = tuple[Any, ...]


def run(
    monkeypatch: pytest.MonkeyPatch, kernel: Kernel, tiling: Configuration, shift: Callable, int8: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """The result, and what is expected. `shift` makes of a launch for 64 outputs one for BEFORE more: grid, arguments
    and the CTA of the last tile."""

    def far(code: Any, grid: tuple[int, ...], arguments: Arguments, constants: Mapping[str, Any], warps: int) -> None:
        grid, arguments, cta = shift(grid, arguments)
        launcher((8, 0), ctas=[cta])(code, grid, arguments, constants, warps)

    monkeypatch.setattr(launch, "launch", far)
    generator = torch.Generator().manual_seed(3)
    weight = torch.randn(OUTPUTS, INPUTS, generator=generator).half()
    packed = pack(weight * nm_mask(weight.abs(), 2, 4), int8=int8)
    x = torch.randn(1, INPUTS, generator=generator).half()
    problem = Problem(1, OUTPUTS, INPUTS, x.dtype, AMPERE, packed.values.dtype, bias=False)
    y = kernel.run(x, kernel.operands(packed, x.dtype, x.device), None, problem, tiling)
    return y, (x.double() @ unpack(packed, torch.float64).t()).half()


def after(tensor: Tensor, outputs: int) -> Distant:
    """The tensor of OUTPUTS outputs at the end of one that has `outputs` more before them."""
    return Distant(tensor, outputs * (tensor.numel() // OUTPUTS) * tensor.element_size())


def portable(before: int, moved: int) -> Callable:
    def shift(grid: tuple[int, ...], arguments: Arguments) -> tuple[tuple[int, ...], Arguments, tuple[int, int, int]]:
        x, values, meta, scales, bias, y, rows, outputs, inputs = arguments
        scales = after(scales, before) if scales.dtype is torch.float32 else scales
        tensors = (x, after(values, moved), after(meta, before), scales, bias, after(y, before))
        tiles = before // FEW["outputs"] + 1
        return (tiles,), (*tensors, rows, before + outputs, inputs), (tiles - 1, 0, 0)

    return shift


def mma_sp(before: int, moved: int) -> Callable:
    def shift(grid: tuple[int, ...], arguments: Arguments) -> tuple[tuple[int, ...], Arguments, tuple[int, int, int]]:
        x, values, meta, bias, scales, y, rows, outputs, width, tiles, pairs = arguments
        scales = after(scales, before) if scales.dtype is torch.float32 else scales
        tensors = (x, after(values, moved), after(meta, before), bias, scales, after(y, before))
        last = before // OUTPUTS
        return (
            (last + 1, *grid[1:]),
            (*tensors, rows, before + outputs, width, before // 16 + tiles, pairs),
            (last, 0, 0),
        )

    return shift


TILING = dict(vars(Tiling(TN=2, TB=1, U=1, W=2, WN=2)))
KERNELS = pytest.mark.parametrize(
    ("kernel", "tiling", "shift"), [(Portable(), FEW, portable), (MmaSp(), TILING, mma_sp)], ids=["portable", "mma.sp"]
)


@KERNELS
@pytest.mark.parametrize("int8", [False, True])
def test_the_last_tile(
    monkeypatch: pytest.MonkeyPatch, kernel: Kernel, tiling: Configuration, shift: Callable, int8: bool
) -> None:
    y, expected = run(monkeypatch, kernel, tiling, shift(BEFORE, BEFORE), int8)
    torch.testing.assert_close(y, expected, rtol=2e-3, atol=2e-3)
    assert bool(y.any())


@KERNELS
def test_another_offset_is_noticed(
    monkeypatch: pytest.MonkeyPatch, kernel: Kernel, tiling: Configuration, shift: Callable
) -> None:
    """As if the offset into the values had wrapped around: then they are elsewhere."""
    with pytest.raises(BadAccess):
        run(monkeypatch, kernel, tiling, shift(BEFORE, BEFORE - 2**26), False)
