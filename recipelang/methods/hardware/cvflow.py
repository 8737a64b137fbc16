"""`cvflow`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from recipelang.catalogue import method
from recipelang.kinds import Hardware


@method("hardware", "cvflow")
@dataclass(frozen=True)
class CVFlow(Hardware):
    """The grids of Ambarella's CVFlow: Ristretto's dynamic fixed point, scales of powers of two.

    Formula: symmetric, one scale for a whole weight: 2^-f, f the number of bits after the point, the largest with which
        the range still fits: the scale that the quantizer chose is raised to the next power of two. Each weight and
        each activation has its own f.
    When it misleads: up to half of the integers are never used, nearly a bit. A quantizer that clips (`mse`) may leave
        a range just below a power of two.
    Source: Gysel, Motamedi and Ghiasi 2016, "Hardware-oriented Approximation of Convolutional Neural Networks",
        arXiv:1604.03168; "Hardware Quantization Scheme", in Advanced Computer Vision, chapter 2, section 11, Tsinghua
        University and SenseTime, 2021.
    """

    executes: ClassVar[str] = "Ambarella chips through CVFlow"
    bits: ClassVar[tuple[int, ...]] = (8,)
    per: ClassVar[tuple[str, ...]] = ("tensor",)
    weights: ClassVar[tuple[str, ...]] = ("symmetric",)
    activations: ClassVar[tuple[str, ...]] = ("symmetric",)
    signed: ClassVar[bool] = True
    powers: ClassVar[bool] = True
