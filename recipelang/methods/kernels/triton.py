"""`accelerate with triton(values=int8)`: our own 2:4 kernels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from recipelang.catalogue import method, setting


@method("kernel", "triton")
@dataclass(frozen=True)
class Triton:
    """Our own 2:4 kernels, written in Triton, made for few rows: single images, tokens one by one, small batches.

    What: `mma.sp`, the sparse tensor-core instruction, with weights stored in the order in which it reads them; bias
        and activation (ReLU, GELU, SiLU) applied before the result is written. If it cannot be compiled, a plain Triton
        kernel reads the same packed form, which saves memory but no time.
    Formula: 9 bits for a weight of 16, 5 bits with `values=int8`: for few rows, time is spent on reading the weight.
    Needs: `latency(device="cuda", precision=float16)` or `bfloat16`, compute capability 8.0, Triton 3.6.
    When it misleads: for many rows, multiplying takes longer than reading, and the vendor's kernels are faster. int8
        values are rounded (weight = value · scale of its row): accuracy is measured with the rounded weights, on every
        device and with every kernel.
    Source: Mishra et al. 2021, "Accelerating Sparse Deep Neural Networks"; PTX ISA, `mma.sp`; Frantar et al. 2024,
        "MARLIN", for weights stored in the order of their use.
    """

    executes: ClassVar[tuple[str, ...]] = ("mma.sp", "portable")

    values: str = setting(
        "same", type="word", choices=("same", "int8"), help="`same` as the weights, or int8 with a scale for each row."
    )

    @property
    def int8(self) -> bool:
        """Whether weights are rounded to int8."""
        return self.values == "int8"
