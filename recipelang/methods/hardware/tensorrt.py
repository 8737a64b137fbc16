"""`tensorrt`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from recipelang.catalogue import method
from recipelang.methods.hardware._forms import Symmetric


@method("hardware", "tensorrt")
@dataclass(frozen=True)
class TensorRT(Symmetric):
    """The grids of TensorRT on NVIDIA GPUs: 8 bits, symmetric, a scale for each output channel of a weight.

    Formula: integers -127 … 127, zero is 0, for weights and activations, also after a ReLU.
    Why: a product of symmetric grids has no terms of zero points, so it is one product of integers and one scale.
    Source: "Hardware Quantization Scheme", in Advanced Computer Vision, chapter 2, section 11, Tsinghua University and
        SenseTime, 2021;
        Migacz 2017, "8-bit Inference with TensorRT".
    """

    executes: ClassVar[str] = "NVIDIA GPUs through TensorRT"
    bits: ClassVar[tuple[int, ...]] = (8,)
    per: ClassVar[tuple[str, ...]] = ("channel", "tensor")
