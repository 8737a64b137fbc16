"""The forms of grids that several profiles have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from recipelang.kinds import Hardware


@dataclass(frozen=True)
class Affine(Hardware):
    """Every range has a zero point."""

    weights: ClassVar[tuple[str, ...]] = ("affine",)
    activations: ClassVar[tuple[str, ...]] = ("affine",)


@dataclass(frozen=True)
class Symmetric(Hardware):
    """Integers of both signs around zero, for weights and activations."""

    weights: ClassVar[tuple[str, ...]] = ("symmetric",)
    activations: ClassVar[tuple[str, ...]] = ("symmetric",)
    signed: ClassVar[bool] = True


@dataclass(frozen=True)
class DynamicFixedPoint(Symmetric):
    """One scale for a weight or an activation, a power of two."""

    per: ClassVar[tuple[str, ...]] = ("tensor",)
    powers: ClassVar[bool] = True
