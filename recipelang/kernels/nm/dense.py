"""The weight unpacked once and multiplied by torch: used on a CPU, and the baseline for other kernels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from recipelang.kernels.nm.format import Packed, unpack
from recipelang.kernels.nm.problem import Configuration, Problem, activate


@dataclass(frozen=True)
class Dense:
    """y = activation(x·Wᵀ + bias) by torch, zeros included. It computes every problem on every device."""

    name: ClassVar[str] = "dense"
    layout: ClassVar[str] = "dense"
    sparse: ClassVar[bool] = False

    def why_not(self, problem: Problem) -> str | None:
        """None: it can compute everything."""
        return None

    def operands(self, packed: Packed, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, ...]:
        """(weight N×K,)."""
        return (unpack(packed, dtype).to(device),)

    def configurations(self, problem: Problem) -> tuple[Configuration, ...]:
        """One: torch chooses its own."""
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
        return activate(functional.linear(x, operands[0], bias), problem.activation)
