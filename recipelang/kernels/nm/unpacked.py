"""Fragments of `mma.sp` unpacked at every call and multiplied by torch, for large batches where memory is scarce."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from recipelang.kernels.nm.format import Packed, spread
from recipelang.kernels.nm.fragments import Fragments, from_fragments
from recipelang.kernels.nm.mma_sp import MmaSp
from recipelang.kernels.nm.problem import Configuration, Problem, activate


@dataclass(frozen=True)
class Unpacked:
    """y = activation(x·Wᵀ + bias) with a dense weight for one call: never the fastest, so not a candidate."""

    name: ClassVar[str] = "unpacked"
    layout: ClassVar[str] = MmaSp.layout
    sparse: ClassVar[bool] = False

    def why_not(self, problem: Problem) -> str | None:
        """Why the weight has no fragments; None where it has them."""
        if problem.dtype not in (torch.float16, torch.bfloat16):
            return "fragments hold values of 16 bits or int8"
        return None

    def operands(self, packed: Packed, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, ...]:
        """Those of `mma.sp`."""
        return MmaSp().operands(packed, dtype, device)

    def configurations(self, problem: Problem) -> tuple[Configuration, ...]:
        """One: there is nothing to choose."""
        return ({},)

    def run(
        self,
        x: Tensor,
        operands: tuple[Tensor, ...],
        bias: Tensor | None,
        problem: Problem,
        configuration: Configuration,
    ) -> Tensor:
        """x rows×inputs → rows×outputs."""
        values, meta, *scales = operands
        order = Fragments(values, meta)
        packed = from_fragments(order, problem.outputs, problem.inputs, x.dtype, scales[0] if scales else None)
        return activate(functional.linear(x, spread(packed).to(x.dtype), bias), problem.activation)
