"""The product with a 2:4 weight on sparse tensor cores, for few rows: host side.

The device code is in mma_sp_gluon.py and reads the weight as fragments.py orders it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from recipelang.kernels.nm import launch
from recipelang.kernels.nm.device import no_sparse_tensor_cores, triton_too_old
from recipelang.kernels.nm.format import Packed, validate
from recipelang.kernels.nm.fragments import PAIR_INPUTS, TILE_OUTPUTS, fragments
from recipelang.kernels.nm.problem import ACTIVATIONS, Configuration, Problem

#: Rows beyond which a product is no longer bound by memory, so that other kernels are faster.
MAX_ROWS = 128

#: Generations for which `mma.sp` was compiled to sparse instructions: Ampere and Ada, Hopper, Blackwell.
_GENERATIONS = (8, 9, 10, 12)

#: Programs that fill a large GPU once; an H100 or H200 has 132 processors.
_FULL = 128

#: Maximum share of the arithmetic spent on padding along the inputs.
_PADDING = 0.1

_TRIED = 8
_JOIN_WIDTH = 256


@dataclass(frozen=True)
class Tiling:
    """How the product is divided into tiles; `mma_sp_gluon.product` describes each parameter.

    Attributes:
        TN: tiles of 16 outputs of a warp.
        TB: tiles of 8 rows of a program.
        U: pairs of tiles along the inputs whose loads a warp starts together.
        W, WN: warps along the inputs and along the outputs; powers of two.
        STAGES: buffers in shared memory for x; 0 where each lane reads its part from memory.
        SPLITS: parts of the inputs computed by separate programs, to be added by a second kernel.
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
        """Of one program."""
        return TILE_OUTPUTS * self.TN * self.WN

    @property
    def rows(self) -> int:
        """Of one program."""
        return 8 * self.TB

    @property
    def step(self) -> int:
        """Inputs that are multiplied in one pass of the loop, over all parts."""
        return PAIR_INPUTS * self.U * self.W * self.SPLITS

    def programs(self, rows: int, outputs: int) -> tuple[int, int, int]:
        """Along the outputs, the rows and the inputs."""
        return -(-outputs // self.outputs), -(-rows // self.rows), self.SPLITS


@dataclass(frozen=True)
class MmaSp:
    """Sparse tensor cores through `mma.sp` (PTX ISA, since sm_80), 16-bit or eight-bit values, few rows."""

    name: ClassVar[str] = "mma.sp"
    layout: ClassVar[str] = "fragments"
    sparse: ClassVar[bool] = True

    def why_not(self, problem: Problem) -> str | None:
        """Why sparse tensor cores cannot compute the problem, or should not; None where they can."""
        device = problem.device
        if reason := no_sparse_tensor_cores(device) or triton_too_old(device):
            return reason
        if device.capability[0] not in _GENERATIONS:
            return f"the kernel was not compiled for compute capability {'.'.join(map(str, device.capability))}"
        if problem.dtype not in (torch.float16, torch.bfloat16):
            return f"the kernel computes in float16 or bfloat16, not in {_name(problem.dtype)}"
        if problem.values not in (problem.dtype, torch.int8):
            return f"the kernel has no {_name(problem.dtype)} with values of {_name(problem.values)}"
        if problem.inputs % 4:
            return f"{problem.inputs} inputs are not a multiple of 4"
        if problem.rows > MAX_ROWS:
            return (
                f"{problem.rows} rows are more than {MAX_ROWS}, beyond which arithmetic, not memory, is the bottleneck"
            )
        if problem.activation not in ACTIVATIONS:
            return f"the kernel has no activation `{problem.activation}`"
        return None

    def operands(self, packed: Packed, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, ...]:
        """(values, metadata) in fragment order, or (values, metadata, scales) where the values are int8.

        Raises:
            Refusal: RCP1302: the packed form is damaged. RCP1304: the kernel has no such dtype.
        """
        validate(packed)  # unordered metadata is undefined behaviour of the instruction
        if dtype not in (torch.float16, torch.bfloat16):
            raise launch.refusal(f"the kernel `{self.name}` has no {_name(dtype)}")
        order = fragments(packed, dtype)
        scales = () if packed.scales is None else (packed.scales.to(device).contiguous(),)
        return (order.values.to(device), order.meta.to(device), *scales)

    def configurations(self, problem: Problem) -> tuple[Configuration, ...]:
        """Tilings for the number of rows: those that keep a large GPU busy and pad little first."""
        ranked = sorted(tilings(problem.rows), key=lambda tiling: _loss(tiling, problem))
        return tuple(dict(vars(tiling)) for tiling in ranked[:_TRIED])

    def run(
        self,
        x: Tensor,
        operands: tuple[Tensor, ...],
        bias: Tensor | None,
        problem: Problem,
        configuration: Configuration,
    ) -> Tensor:
        """x rows×inputs → rows×outputs.

        Raises:
            Refusal: RCP1304: x or the bias do not fit the weight.
        """
        from recipelang.kernels.nm import mma_sp_gluon

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
        # Unused arguments are not read: any tensor will do.
        rest = (y if bias is None else bias, scales[0] if scales else y)
        finish = {"NARROW": bool(scales), "BIASED": bias is not None, "ACTIVATION": problem.activation}
        vec = 2 if problem.inputs % 8 else 4
        launch.launch(
            mma_sp_gluon.product,
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
                mma_sp_gluon.join,
                (-(-problem.outputs // _JOIN_WIDTH), rows),
                (sums, *rest, y, rows, problem.outputs),
                {"SPLITS": tiling.SPLITS, "WIDTH": _JOIN_WIDTH, **finish},
                _JOIN_WIDTH // 128,
            )
        return y


# By maximum number of rows: without and with x in shared memory. They are bounded by the registers of the ring (16-bit:
# 9 · TN · U, and 8 · TB · U where x is gathered) and of the sums (4 · TN · TB): none spills on sm_80 or later.
_TILINGS: tuple[tuple[int, tuple[Tiling, ...]], ...] = (
    (
        8,
        (
            Tiling(TN=1, TB=1, U=4, W=8),
            Tiling(TN=2, TB=1, U=4, W=4),
            Tiling(TN=1, TB=1, U=2, W=8),
            Tiling(TN=2, TB=1, U=2, W=8),
            Tiling(TN=4, TB=1, U=2, W=4),
            Tiling(TN=1, TB=1, U=8, W=4),
            Tiling(TN=1, TB=1, U=2, W=4),
            Tiling(TN=1, TB=1, U=1, W=4),
            Tiling(TN=1, TB=1, U=2, W=8, SPLITS=2),
            Tiling(TN=1, TB=1, U=1, W=4, SPLITS=4),
        ),
    ),
    (
        16,
        (
            Tiling(TN=2, TB=2, U=2, W=8),
            Tiling(TN=1, TB=2, U=2, W=8),
            Tiling(TN=2, TB=2, U=4, W=4),
            Tiling(TN=4, TB=2, U=2, W=4),
            Tiling(TN=2, TB=2, U=2, W=2, WN=2, STAGES=3),
            Tiling(TN=2, TB=2, U=2, W=1, WN=4, STAGES=4, SPLITS=2),
            Tiling(TN=2, TB=2, U=2, W=1, WN=4, STAGES=4, SPLITS=4),
            Tiling(TN=2, TB=2, U=2, W=1, WN=4, STAGES=4),
            Tiling(TN=1, TB=2, U=1, W=4),
            Tiling(TN=1, TB=2, U=1, W=4, SPLITS=4),
        ),
    ),
    (
        32,
        (
            Tiling(TN=2, TB=4, U=2, W=2, WN=2, STAGES=3),
            Tiling(TN=2, TB=4, U=2, W=2, WN=2, STAGES=3, SPLITS=2),
            Tiling(TN=2, TB=4, U=2, W=1, WN=4, STAGES=3, SPLITS=2),
            Tiling(TN=2, TB=4, U=2, W=1, WN=4, STAGES=3, SPLITS=4),
            Tiling(TN=2, TB=4, U=2, W=1, WN=4, STAGES=3),
            Tiling(TN=4, TB=4, U=1, W=1, WN=8, STAGES=3, SPLITS=8),
            Tiling(TN=2, TB=4, U=2, W=1, WN=8, STAGES=3),
            Tiling(TN=1, TB=4, U=2, W=2, WN=2, STAGES=3),
            Tiling(TN=1, TB=4, U=1, W=2, WN=2, STAGES=3, SPLITS=4),
        ),
    ),
    (
        MAX_ROWS,
        (
            Tiling(TN=2, TB=8, U=2, W=1, WN=4, STAGES=3, SPLITS=4),
            Tiling(TN=2, TB=8, U=1, W=2, WN=4, STAGES=3, SPLITS=4),
            Tiling(TN=2, TB=8, U=2, W=1, WN=8, STAGES=3, SPLITS=8),
            Tiling(TN=1, TB=8, U=2, W=1, WN=4, STAGES=3, SPLITS=2),
            Tiling(TN=2, TB=8, U=2, W=1, WN=4, STAGES=3, SPLITS=2),
            Tiling(TN=2, TB=8, U=2, W=1, WN=4, STAGES=3),
            Tiling(TN=2, TB=8, U=2, W=1, WN=8, STAGES=3),
            Tiling(TN=2, TB=8, U=1, W=2, WN=2, STAGES=3),
            Tiling(TN=1, TB=8, U=2, W=1, WN=4, STAGES=3),
            Tiling(TN=1, TB=8, U=1, W=1, WN=4, STAGES=3, SPLITS=8),
        ),
    ),
)


def tilings(rows: int) -> tuple[Tiling, ...]:
    """The tilings worth trying for this many rows, the most promising first."""
    return next((choice for most, choice in _TILINGS if rows <= most), _TILINGS[-1][1])


def _loss(tiling: Tiling, problem: Problem) -> tuple[bool, bool, bool]:
    """What a tiling wastes: idle processors, arithmetic on padding, an unnecessary second kernel."""
    across, down, _ = tiling.programs(problem.rows, problem.outputs)
    padded = -(-problem.inputs // tiling.step) * tiling.step
    return (
        across * down * tiling.SPLITS < _FULL,
        padded > (1 + _PADDING) * problem.inputs,
        tiling.SPLITS > 1 and across * down >= _FULL,
    )


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
