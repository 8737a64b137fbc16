"""`nart_gpu`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from recipelang.catalogue import method
from recipelang.methods.hardware._forms import Symmetric


@method("hardware", "nart_gpu")
@dataclass(frozen=True)
class NartGPU(Symmetric):
    """The grids of NART-QUANT on NVIDIA GPUs: 4 or 8 bits, symmetric, for each output channel or the whole weight.

    Formula: integers of both signs around zero, for weights and activations.
    Source: "Hardware Quantization Scheme", in Advanced Computer Vision, chapter 2, section 11, Tsinghua University and
        SenseTime, 2021.
    """

    executes: ClassVar[str] = "NVIDIA GPUs through NART-QUANT"
    bits: ClassVar[tuple[int, ...]] = (4, 8)
    per: ClassVar[tuple[str, ...]] = ("channel", "tensor")
