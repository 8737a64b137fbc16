"""`snpe`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from recipelang.catalogue import method
from recipelang.methods.hardware._forms import Affine


@method("hardware", "snpe")
@dataclass(frozen=True)
class SNPE(Affine):
    """The grids of SNPE on Qualcomm's Hexagon DSP: 8 bits, affine, one range for a whole weight.

    Formula: 256 integers and a zero point for each weight and each activation.
    When it misleads: a layer whose channels differ much, as depthwise ones do, has few numbers for the small ones;
        `equalize` before it helps.
    Source: "Hardware Quantization Scheme", in Advanced Computer Vision, chapter 2, section 11, Tsinghua University and
        SenseTime, 2021.
    """

    executes: ClassVar[str] = "Qualcomm Hexagon DSPs through SNPE"
    bits: ClassVar[tuple[int, ...]] = (8,)
    per: ClassVar[tuple[str, ...]] = ("tensor",)
