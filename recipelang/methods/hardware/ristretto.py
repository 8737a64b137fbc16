"""`ristretto`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from recipelang.catalogue import method
from recipelang.kinds import BITS
from recipelang.methods.hardware._forms import DynamicFixedPoint


@method("hardware", "ristretto")
@dataclass(frozen=True)
class Ristretto(DynamicFixedPoint):
    """Dynamic fixed point, as Ristretto has it: symmetric, one scale for a weight, a power of two.

    Formula: scale 2^-f, f the number of bits after the point, the largest with which the range still fits: the scale
        that the quantizer chose is raised to the next power of two. Each weight and each activation has its own f.
    When it misleads: up to half of the integers are never used, nearly a bit. A quantizer that clips (`mse`) may leave
        a range just below a power of two.
    Source: Gysel, Motamedi and Ghiasi 2016, "Hardware-oriented Approximation of Convolutional Neural Networks",
        arXiv:1604.03168.
    """

    executes: ClassVar[str] = "hardware with dynamic fixed point"
    bits: ClassVar[tuple[int, ...]] = BITS
