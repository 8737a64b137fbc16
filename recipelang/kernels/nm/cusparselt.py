"""The vendor's 2:4 kernels through torch: cuSPARSELt, called without torch's tensor subclass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from recipelang.kernels.nm.device import no_sparse_tensor_cores
from recipelang.kernels.nm.format import Packed, unpack
from recipelang.kernels.nm.problem import Configuration, Problem, activate

#: torch asks for such multiples of both sides of a 16-bit weight, and of the rows of x.
WEIGHT_MULTIPLE, ROWS_MULTIPLE = 16, 8
#: Algorithms that cuSPARSELt numbers from 0; those that a version does not have refuse themselves when tried.
ALGORITHMS = 8


@dataclass(frozen=True)
class CuSparseLt:
    """y = activation(x·Wᵀ + bias) by `torch._cslt_sparse_mm`.

    Some of its algorithms give wrong results on some devices (pytorch#155333), so that every one is verified before it
    is timed. Its compressed form is the vendor's own and is made on the device.
    """

    name: ClassVar[str] = "cuSPARSELt"
    layout: ClassVar[str] = "cuSPARSELt"
    sparse: ClassVar[bool] = True

    def why_not(self, problem: Problem) -> str | None:
        """Why the vendor's kernels cannot compute the problem; None where they can."""
        if reason := no_sparse_tensor_cores(problem.device):
            return reason
        if problem.device.cusparselt is None:
            return "this torch has no cuSPARSELt"
        if problem.dtype not in (torch.float16, torch.bfloat16):
            return f"cuSPARSELt needs 16-bit numbers and these are {str(problem.dtype).removeprefix('torch.')}"
        for what, size in (("outputs", problem.outputs), ("inputs", problem.inputs)):
            if size % WEIGHT_MULTIPLE:
                return f"cuSPARSELt needs a multiple of {WEIGHT_MULTIPLE} {what} and the layer has {size}"
        return None

    def operands(self, packed: Packed, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, ...]:
        """(compressed weight,). Values of int8 are rounded numbers in 16 bits here: the vendor's int8 kernels want int8
        activations as well."""
        return (torch._cslt_compress(unpack(packed, dtype).to(device).contiguous()),)

    def configurations(self, problem: Problem) -> tuple[Configuration, ...]:
        """One for each algorithm."""
        return tuple({"algorithm": number} for number in range(ALGORITHMS))

    def run(
        self,
        x: Tensor,
        operands: tuple[Tensor, ...],
        bias: Tensor | None,
        problem: Problem,
        configuration: Configuration,
    ) -> Tensor:
        """x rows×inputs → rows×outputs; rows are filled up to a multiple of 8."""
        rows = x.shape[0]
        filled = functional.pad(x, (0, 0, 0, -rows % ROWS_MULTIPLE)) if rows % ROWS_MULTIPLE else x
        y = torch._cslt_sparse_mm(
            operands[0], filled.t(), bias=bias, transpose_result=True, alg_id=configuration.get("algorithm", 0)
        )
        return activate(y[:rows], problem.activation).contiguous()
