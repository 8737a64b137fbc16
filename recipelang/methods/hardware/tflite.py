"""`tflite`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from recipelang.catalogue import method
from recipelang.kinds import Hardware


@method("hardware", "tflite")
@dataclass(frozen=True)
class TFLite(Hardware):
    """The grids of TensorFlow Lite: 8 bits, weights symmetric for each output channel, activations affine.

    Formula: weights -127 … 127 with zero 0; an activation has 256 integers and a zero point. (The format stores them
        as int8; whether a range is written from -128 or from 0 changes no number of the grid.)
    Source: TensorFlow Lite 8-bit quantization specification; Jacob et al. 2018, "Quantization and Training of Neural
        Networks for Efficient Integer-Arithmetic-Only Inference".
    """

    executes: ClassVar[str] = "phones and microcontrollers through TensorFlow Lite"
    bits: ClassVar[tuple[int, ...]] = (8,)
    per: ClassVar[tuple[str, ...]] = ("channel", "tensor")
    weights: ClassVar[tuple[str, ...]] = ("symmetric",)
    activations: ClassVar[tuple[str, ...]] = ("affine",)
