"""`accelerate with cusparselt`: the vendor's 2:4 kernels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from recipelang.catalogue import method


@method("kernel", "cusparselt")
@dataclass(frozen=True)
class CuSparseLt:
    """NVIDIA's own 2:4 kernels, cuSPARSELt, through torch.

    What: linear layers and 1×1 convolutions on GPUs of compute capability 8.0 and newer, in float16 or bfloat16. All of
        its algorithms are tried on the layer's shape; each result is verified before it is timed.
    Needs: `latency(device="cuda", precision=float16)` or `bfloat16`, inputs and outputs that are multiples of 16.
    When it misleads: it is faster when many rows are computed at once; for few rows it is slower than dense, up to ten
        times according to published figures. Alone, as in `accelerate with cusparselt`, it is used even then: add
        `dense` to let the measurement decide.
    Source: Mishra et al. 2021, "Accelerating Sparse Deep Neural Networks"; https://docs.nvidia.com/cuda/cusparselt.
    """

    executes: ClassVar[tuple[str, ...]] = ("cuSPARSELt",)
    int8: ClassVar[bool] = False
