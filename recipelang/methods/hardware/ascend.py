"""`ascend`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from recipelang.catalogue import method
from recipelang.methods.hardware._forms import Affine


@method("hardware", "ascend")
@dataclass(frozen=True)
class Ascend(Affine):
    """The grids of Huawei's ACL on the Ascend 310: 8 bits, affine, a range for each output channel of a weight.

    Formula: 256 integers and a zero point for each range.
    Source: "Hardware Quantization Scheme", in Advanced Computer Vision, chapter 2, section 11, Tsinghua University and
        SenseTime, 2021.
    """

    executes: ClassVar[str] = "Huawei Ascend 310 through ACL"
    bits: ClassVar[tuple[int, ...]] = (8,)
    per: ClassVar[tuple[str, ...]] = ("channel",)
