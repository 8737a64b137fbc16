"""Which numbers a quantized tensor may hold, and the methods that choose the range of a grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Scheme:
    """The integers of a grid.

    Attributes:
        bits: of one number.
        signed: whether they may be negative: weights are, activations have a zero point instead.
        symmetric: whether zero is the integer 0, and -w is on the grid where w is.
        axis: of the tensor, along which each row has a grid of its own; None: one grid for all.
    """

    bits: int
    signed: bool = False
    symmetric: bool = False
    axis: int | None = None

    @property
    def low(self) -> int:
        """The smallest integer; symmetric 8 bits have -127…127."""
        return -(2 ** (self.bits - 1)) + self.symmetric if self.signed else 0

    @property
    def high(self) -> int:
        """The largest integer."""
        return 2 ** (self.bits - 1) - 1 if self.signed else 2**self.bits - 1


@dataclass(frozen=True)
class Observed:
    """What was seen at a place.

    Attributes:
        low, high: the extremes of everything: scalars, or one for each row of the scheme's axis.
        values: N of the values, or rows × N; None where the method needs extremes alone.
    """

    low: Tensor
    high: Tensor
    values: Tensor | None = None


class RangeEstimator(Protocol):
    """`quantize … by NAME(…)`: the range that a grid covers; what is outside is clipped to its ends.

    A uniform grid is decided by its range: `Grid.between` widens it to hold zero, so that no estimator can lose the
    zeros of masks, padding and ReLU.

    Attributes:
        needs: `extremes`, or `samples` for a part of the values as well.
        per: `channel`: each output of a weight has a grid of its own; `tensor`: a weight has one.
    """

    needs: ClassVar[str]

    @property
    def per(self) -> str: ...

    def range(self, observed: Observed, scheme: Scheme) -> tuple[Tensor, Tensor]:
        """The smallest and the largest value of the grid, of the shape of `observed.low`."""
