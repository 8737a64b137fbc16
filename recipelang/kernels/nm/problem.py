"""What a 2:4 kernel is to compute, where, and the interface of every kernel.

y[rows, outputs] = activation(x[rows, inputs] · Wᵀ + bias),   W[outputs, inputs] in 2:4
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from recipelang.kernels.nm.format import Packed

#: Activations that a kernel applies to its result before it is written.
ACTIVATIONS = ("none", "relu", "gelu", "gelu_tanh", "silu")

#: How a kernel is divided into tiles: names and whole numbers, as the kernel defines them.
Configuration = Mapping[str, int]


@dataclass(frozen=True)
class Device:
    """The properties that decide which kernels a device can run.

    Attributes:
        type: `cpu`, `cuda`, or `rocm` for a GPU that is not NVIDIA's.
        name: as the driver reports it; "" on a CPU.
        capability: compute capability, (9, 0) for Hopper; (0, 0) on a CPU.
        triton: version of Triton as (major, minor); None where it is not installed.
        cusparselt: version of cuSPARSELt as torch reports it, 801 for 0.8.1; None where torch has none.
        l2_bytes: size of the second-level cache.
    """

    type: str
    name: str = ""
    capability: tuple[int, int] = (0, 0)
    triton: tuple[int, int] | None = None
    cusparselt: int | None = None
    l2_bytes: int = 0


@dataclass(frozen=True)
class Problem:
    """One product with a 2:4 weight.

    Attributes:
        rows: of x: images, tokens or pixels in one call.
        outputs, inputs: of the weight.
        dtype: of x, of the bias and of the result.
        device: where it runs.
        values: dtype of the packed values: `dtype`, or torch.int8 with one scale per output.
        bias: whether one is added.
        activation: one of ACTIVATIONS.
    """

    rows: int
    outputs: int
    inputs: int
    dtype: torch.dtype
    device: Device
    values: torch.dtype
    bias: bool = True
    activation: str = "none"


class Kernel(Protocol):
    """A way to compute a `Problem`. Kernels have no state; what they need of a weight is in `operands`."""

    name: ClassVar[str]
    layout: ClassVar[str]  # of its operands: kernels with one layout read the same
    sparse: ClassVar[bool]  # whether it multiplies the packed form

    def why_not(self, problem: Problem) -> str | None:
        """Why it cannot compute the problem, as the end of "this layer runs dense: …"; None where it can."""

    def operands(self, packed: Packed, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, ...]:
        """The weight as the kernel reads it: derived from the packed form, on the device, never saved."""

    def configurations(self, problem: Problem) -> tuple[Configuration, ...]:
        """The configurations to try, the most promising first; at least one, {} where there is nothing to choose."""

    def run(
        self,
        x: Tensor,
        operands: tuple[Tensor, ...],
        bias: Tensor | None,
        problem: Problem,
        configuration: Configuration,
    ) -> Tensor:
        """x rows×inputs, contiguous → rows×outputs, contiguous. `x.shape[0]` may differ from `problem.rows`
        within what `why_not` allows."""


def activate(y: Tensor, activation: str) -> Tensor:
    """The activation of this name, in plain torch: what kernels are compared with."""
    match activation:
        case "relu":
            return functional.relu(y)
        case "gelu":
            return functional.gelu(y)
        case "gelu_tanh":
            return functional.gelu(y, approximate="tanh")
        case "silu":
            return functional.silu(y)
    return y
