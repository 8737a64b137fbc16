"""`sparsify weights to 90%`: single weights, wherever they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipelang.catalogue import method
from recipelang.methods.patterns._pieces import Pieces

if TYPE_CHECKING:
    from torch import Tensor


@method("pattern", "weights")
@dataclass(frozen=True)
class Weights(Pieces):
    """Single weights are zero, wherever they are: the same share of every layer.

    Written `weights`, with the share of zeros after `to`: `sparsify weights to 90%`, at once or `over agp(…)`.

    What: the finest pattern (fine-grained, 0-D); more weights can be removed at the same accuracy than in any other.
    Formula: of the N weights of a layer the ⌈share · N⌉ with the lowest scores are zero, of equal scores the last ones;
        one weight always stays.
    Shapes: scores of any shape → mask of the same shape.
    When it misleads: no kernel here skips single zeros, so they save no time. Every layer gets the same share, which
    costs small layers more than large ones: leave them out with `except`. A later pattern on the same weights takes the
    place of this one. Convolutions in groups stay dense; the report names them.
    Source: Han et al. 2015, "Learning both Weights and Connections"; Zhu, Gupta 2017 (the same share of every layer).
    """

    piece: ClassVar[str] = "weight"
    grouped: ClassVar[bool] = False

    def __str__(self) -> str:
        return f"{100 * self.share:.4g}% sparse"

    def refuses(self, weight: Tensor) -> str | None:
        """Why this weight cannot take the pattern; None: every one can."""
        return None

    def split(self, weight: Tensor) -> Tensor:
        """N×1: single weights."""
        return weight.reshape(-1, 1)
