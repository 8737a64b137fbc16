"""`power_of_two`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from recipelang.catalogue import method
from recipelang.kinds import Hardware


@method("hardware", "power_of_two")
@dataclass(frozen=True)
class PowerOfTwo(Hardware):
    """Scales are powers of two, so that requantization is a shift; all else is as without hardware.

    Formula: the scale that the quantizer chose is raised to the next power of two, 2^ceil(log2(scale)); the range then
        holds at least what it held, and zero points follow.
    When it misleads: up to half of the integers are never used, nearly a bit.
    Source: Jain et al. 2020, "Trained Quantization Thresholds for Accurate and Efficient Fixed-Point Inference of Deep
        Neural Networks", arXiv:1903.08066, section 3.
    """

    executes: ClassVar[str] = "hardware that shifts"
    powers: ClassVar[bool] = True
