"""`sigmastar`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from recipelang.catalogue import method
from recipelang.methods.hardware._forms import Symmetric


@method("hardware", "sigmastar")
@dataclass(frozen=True)
class SigmaStar(Symmetric):
    """The grids of SigmaStar's SDK: 8 bits, symmetric, a scale for each output channel of a weight.

    Formula: integers of both signs around zero, for weights and activations. Its 16 bits are not offered.
    Source: "Hardware Quantization Scheme", in Advanced Computer Vision, chapter 2, section 11, Tsinghua University and
        SenseTime, 2021.
    """

    executes: ClassVar[str] = "SigmaStar chips"
    bits: ClassVar[tuple[int, ...]] = (8,)
    per: ClassVar[tuple[str, ...]] = ("channel",)
