"""`nart_arm`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from recipelang.catalogue import method
from recipelang.kinds import BITS
from recipelang.methods.hardware._forms import Affine


@method("hardware", "nart_arm")
@dataclass(frozen=True)
class NartARM(Affine):
    """The grids of NART-QUANT on ARM processors: 2 to 8 bits, affine, one range for a whole weight.

    Formula: 2^b integers and a zero point for each weight and each activation.
    Source: "Hardware Quantization Scheme", in Advanced Computer Vision, chapter 2, section 11, Tsinghua University and
        SenseTime, 2021.
    """

    executes: ClassVar[str] = "ARM processors through NART-QUANT"
    bits: ClassVar[tuple[int, ...]] = BITS
    per: ClassVar[tuple[str, ...]] = ("tensor",)
