"""The product with a 2:4 weight on sparse tensor cores, for few rows: host side.

The device code is in mma_sp_gluon.py and reads the weight as fragments.py orders it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from recipelang.kernels.nm import launch
from recipelang.kernels.nm.format import Packed
from recipelang.kernels.nm.fragments import PAIR_INPUTS, TILE_OUTPUTS, fragments
from recipelang.kernels.nm.problem import ACTIVATIONS, Configuration, Problem

#: Rows beyond which weights are no longer what a product waits for, so that dense or the vendor's kernel is faster.
MAX_ROWS = 128

#: The oldest Triton whose Gluon compiles the device code.
OLDEST_TRITON = (3, 6)

#: Generations whose `mma.sp` was compiled to sparse instructions: Ampere and Ada, Hopper, Blackwell.
_GENERATIONS = (8, 9, 10, 12)

#: Programs that fill a large GPU once; an H100 or H200 has 132 processors.
_FULL = 128

_TRIED = 8
_JOIN_WIDTH = 256


@dataclass(frozen=True)
class Tiling:
    """How the product is cut; `mma_sp_gluon.product` says what each does.

    Attributes:
        TN: tiles of 16 outputs of a warp.
        TB: tiles of 8 rows of a program.
        U: pairs of tiles along the inputs whose loads a warp starts together.
        W, WN: warps along the inputs and along the outputs; powers of two.
        STAGES: buffers in shared memory for x; 0 where each lane reads its part from memory.
        SPLITS: parts of the inputs that go to programs of their own, to be added by a second kernel.
    """

    TN: int
    TB: int
    U: int
    W: int
    WN: int = 1
    STAGES: int = 0
    SPLITS: int = 1

    @property
    def outputs(self) -> int:
        return TILE_OUTPUTS * self.TN * self.WN

    @property
    def rows(self) -> int:
        return 8 * self.TB

    @property
    def step(self) -> int:
        """Inputs that are multiplied in one pass of the loop, over all parts."""
        return PAIR_INPUTS * self.U * self.W * self.SPLITS

    def programs(self, rows: int, outputs: int) -> tuple[int, int, int]:
        return -(-outputs // self.outputs), -(-rows // self.rows), self.SPLITS


@dataclass(frozen=True)
class MmaSp:
    """Sparse tensor cores through `mma.sp` (PTX ISA, since sm_80), 16-bit or eight-bit values, few rows."""

    name: ClassVar[str] = "mma.sp"
    sparse: ClassVar[bool] = True

    def why_not(self, problem: Problem) -> str | None:
        device = problem.device
        if device.type != "cuda":
            return f"sparse tensor cores are part of a GPU, and this is a `{device.type}` device"
        capability = ".".join(map(str, device.capability))
        if device.capability < (8, 0):
            return f"compute capability {capability} has no sparse tensor cores; 8.0 is the first"
        if device.capability[0] not in _GENERATIONS:
            return f"this kernel was never compiled for compute capability {capability}"
        if device.triton is None:
            return "Triton is not installed"
        if device.triton < OLDEST_TRITON:
            return f"Triton {device.triton[0]}.{device.triton[1]} is older than 3.6"
        if problem.dtype not in (torch.float16, torch.bfloat16):
            return f"sparse tensor cores are used for float16 and bfloat16, not for {_name(problem.dtype)}"
        if problem.values not in (problem.dtype, torch.int8):
            return f"values of {_name(problem.values)} do not fit activations of {_name(problem.dtype)}"
        if problem.inputs % 4:
            return f"{problem.inputs} inputs are no multiple of 4"
        if problem.rows > MAX_ROWS:
            return f"{problem.rows} rows are more than {MAX_ROWS}: beyond, arithmetic and not memory sets the pace"
        if problem.activation not in ACTIVATIONS:
            return f"the activation `{problem.activation}` is not known to it"
        return None

    def operands(self, packed: Packed, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, ...]:
        """(values, metadata) in fragment order, and the scales where the values are int8."""
        order = fragments(packed, dtype)
        scales = () if packed.scales is None else (packed.scales.to(device),)
        return (order.values.to(device), order.meta.to(device), *scales)

    def configurations(self, problem: Problem) -> tuple[Configuration, ...]:
        fitting = [tiling for tiling in tilings(problem.rows) if tiling.step <= problem.inputs]
        ranked = sorted(fitting, key=lambda tiling: _loss(tiling, problem))
        # A weight that is smaller than one step of any tiling is masked.
        chosen = ranked[:_TRIED] or [next(tilings(problem.rows))]
        return tuple(dict(vars(tiling)) for tiling in chosen)

    def run(
        self,
        x: Tensor,
        operands: tuple[Tensor, ...],
        bias: Tensor | None,
        problem: Problem,
        configuration: Configuration,
    ) -> Tensor:
        from recipelang.kernels.nm import mma_sp_gluon as device_code

        values, meta, *scales = operands
        launch.fits(x, bias, problem.outputs, problem.inputs, problem.dtype, values.device)
        rows, tiling = x.shape[0], Tiling(**configuration)
        y = x.new_empty(rows, problem.outputs)
        if not rows:
            return y
        if x.data_ptr() % 16:
            x = x.clone()  # lanes read 16 bytes at once
        parts = tiling.SPLITS > 1
        sums = x.new_empty((tiling.SPLITS, *y.shape), dtype=torch.float32) if parts else y
        # What is not used is not read: any tensor stands for it.
        rest = (y if bias is None else bias, scales[0] if scales else y)
        finish = {"NARROW": bool(scales), "BIASED": bias is not None, "ACTIVATION": problem.activation}
        vec = 2 if problem.inputs % 8 else 4
        launch.launch(
            device_code.product,
            tiling.programs(rows, problem.outputs),
            (x.view(torch.int32), values, meta, *rest, sums, rows, problem.outputs)
            + (problem.inputs // (2 * vec), meta.shape[0], meta.shape[1]),
            {
                **vars(tiling),
                "VEC": vec,
                "EVEN": problem.inputs % tiling.step == 0,
                "BF16": problem.dtype is torch.bfloat16,
                **finish,
            },
            tiling.W * tiling.WN,
        )
        if parts:
            launch.launch(
                device_code.join,
                (-(-problem.outputs // _JOIN_WIDTH), rows),
                (sums, *rest, y, rows, problem.outputs),
                {"SPLITS": tiling.SPLITS, "WIDTH": _JOIN_WIDTH, **finish},
                _JOIN_WIDTH // 128,
            )
        return y


def tilings(rows: int) -> Iterator[Tiling]:
    """Every tiling that is worth trying for so many rows, the likeliest first."""
    raise NotImplementedError


def _loss(tiling: Tiling, problem: Problem) -> tuple[bool, bool]:
    """What a tiling wastes: loads that must be masked, then processors without work."""
    programs = tiling.programs(problem.rows, problem.outputs)
    return problem.inputs % tiling.step > 0, programs[0] * programs[1] * programs[2] < _FULL


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
