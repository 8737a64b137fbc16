"""`ceva`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from recipelang.catalogue import method
from recipelang.methods.hardware._forms import Affine


@method("hardware", "ceva")
@dataclass(frozen=True)
class Ceva(Affine):
    """The grids of Ceva's DSPs: 8 bits, affine, for each output channel or the whole weight.

    Formula: 256 integers and a zero point for each range. Its 16 bits are not offered: no grid of `quantize` is finer
        than 8.
    Source: "Hardware Quantization Scheme", in Advanced Computer Vision, chapter 2, section 11, Tsinghua University and
        SenseTime, 2021.
    """

    executes: ClassVar[str] = "Ceva DSPs"
    bits: ClassVar[tuple[int, ...]] = (8,)
    per: ClassVar[tuple[str, ...]] = ("channel", "tensor")
