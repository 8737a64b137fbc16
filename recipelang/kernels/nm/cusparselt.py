"""The vendor's 2:4 kernels through torch: cuSPARSELt, called without torch's tensor subclass."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from recipelang.kernels.nm.device import no_sparse_tensor_cores
from recipelang.kernels.nm.format import Packed, unpack
from recipelang.kernels.nm.problem import Configuration, Problem, activate

#: torch requires these multiples for both sides of a 16-bit weight, and for the rows of x.
WEIGHT_MULTIPLE, ROWS_MULTIPLE = 16, 8
#: Algorithms, numbered from 0: how many are tried where cuSPARSELt does not report its number, and the maximum; those
#: that a version does not have raise.
ALGORITHMS, MOST_ALGORITHMS = 8, 64
#: Its pointers must be a multiple of this many bytes.
ALIGNED = 16


@dataclass(frozen=True)
class CuSparseLt:
    """y = activation(x·Wᵀ + bias) by `torch._cslt_sparse_mm`.

    Some of its algorithms give wrong results on some devices (pytorch#155333), so each one is verified before it is
    timed. Its compressed form is the vendor's own and is made on the device.
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
            return f"cuSPARSELt needs 16-bit numbers, not {str(problem.dtype).removeprefix('torch.')}"
        for what, size in (("outputs", problem.outputs), ("inputs", problem.inputs)):
            if size % WEIGHT_MULTIPLE:
                return f"cuSPARSELt needs a multiple of {WEIGHT_MULTIPLE} {what}; the layer has {size}"
        return None

    def operands(self, packed: Packed, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, ...]:
        """(compressed weight,). Values of int8 are rounded numbers in 16 bits here: the vendor's int8 kernels also
        require int8 activations."""
        return (torch._cslt_compress(unpack(packed, dtype).to(device).contiguous()),)

    def configurations(self, problem: Problem) -> tuple[Configuration, ...]:
        """One per algorithm."""
        return tuple({"algorithm": number} for number in range(algorithms(problem.dtype)))

    def run(
        self,
        x: Tensor,
        operands: tuple[Tensor, ...],
        bias: Tensor | None,
        problem: Problem,
        configuration: Configuration,
    ) -> Tensor:
        """x rows×inputs → rows×outputs; rows are padded to a multiple of 8."""
        rows = x.shape[0]
        filled = functional.pad(x, (0, 0, 0, -rows % ROWS_MULTIPLE)) if rows % ROWS_MULTIPLE else _aligned(x)
        y = torch._cslt_sparse_mm(
            operands[0],
            filled.t(),
            bias=None if bias is None else _aligned(bias),
            transpose_result=True,
            alg_id=configuration["algorithm"],
        )
        return activate(y[:rows], problem.activation).contiguous()


@lru_cache
def algorithms(dtype: torch.dtype) -> int:
    """Number of algorithms for products in this format: dozens on Hopper, four on Ampere at first.

    Only a search reports it (pytorch#137427), and the result depends on the format and the layouts, not on the size.
    """
    try:
        library: Any = torch._C._cusparselt
        zeros = torch.zeros(64, 64, dtype=dtype, device="cuda")
        *_, count = library.mm_search(torch._cslt_compress(zeros), zeros.t(), None, None, None, True)
    except Exception:  # a private function: it may be missing, take other arguments or reject the device
        return ALGORITHMS
    return max(1, min(int(count), MOST_ALGORITHMS))


def _aligned(tensor: Tensor) -> Tensor:
    return tensor.clone() if tensor.data_ptr() % ALIGNED else tensor
