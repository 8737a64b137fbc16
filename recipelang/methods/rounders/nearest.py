"""`nearest`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from recipelang.catalogue import method
from recipelang.kinds import LAYER, Piece, Progress, Rounded
from recipelang.kinds import nearest as nearest_values


@method("rounder", "nearest")
@dataclass(frozen=True)
class Nearest:
    """Every weight becomes the nearest number of its grid.

    What: what `quantize` does without a rounder, but the weights lose their full precision: later training starts from
        the rounded ones.
    Formula: argmin over the numbers q of the grid of |w - q|.
    Shapes: a weight of any shape.
    Needs: no data, and any grid or codebook.
    When it misleads: each weight is as near as possible, the layer's output is not: below 8 bits `gptq`, `adaround` and
        `brecq` are better.
    Source: Krishnamoorthi 2018, arXiv:1806.08342.
    """

    looks_at_data: ClassVar[bool] = False
    uniform: ClassVar[bool] = False
    unit: ClassVar[str] = LAYER

    def round(self, piece: Piece, progress: Progress) -> Rounded:
        """The nearest numbers."""
        return Rounded(nearest_values(piece))
