"""`vitis`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from recipelang.catalogue import method
from recipelang.methods.hardware._forms import DynamicFixedPoint


@method("hardware", "vitis")
@dataclass(frozen=True)
class Vitis(DynamicFixedPoint):
    """The grids of Vitis AI on Xilinx FPGAs: Ristretto's dynamic fixed point, scales of powers of two.

    Formula: as `ristretto`, of 8 bits.
    When it misleads: as `ristretto`.
    Source: Gysel, Motamedi and Ghiasi 2016, "Hardware-oriented Approximation of Convolutional Neural Networks",
        arXiv:1604.03168; "Hardware Quantization Scheme", in Advanced Computer Vision, chapter 2, section 11, Tsinghua
        University and SenseTime, 2021.
    """

    executes: ClassVar[str] = "Xilinx FPGAs through Vitis AI"
    bits: ClassVar[tuple[int, ...]] = (8,)
