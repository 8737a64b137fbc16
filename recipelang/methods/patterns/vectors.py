"""`sparsify vectors to 60%`: rows of kernels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipelang.catalogue import method
from recipelang.methods.patterns._pieces import Pieces

if TYPE_CHECKING:
    from torch import Tensor


@method("pattern", "vectors")
@dataclass(frozen=True)
class Vectors(Pieces):
    """Rows of kernels are zero: the same share of every convolution.

    Written `vectors`, with the share of zeros after `to`: `sparsify vectors to 60%`, at once or `over agp(…)`.

    What: the 1-D granularity: W[o, i, y, :] is kept or removed whole, so that one index stands for kw weights.
    Formula: S = Σ over the vector of the scores of its weights; of the N = O·I·kh vectors of a layer the ⌈share · N⌉
        with the lowest S are zero, of equal ones the last; one always stays.
    Shapes: scores O×I×kh×kw → mask of the same shape; of a convolution in one dimension, O×I×k, whole kernels.
    When it misleads: no kernel here skips vectors, so they save no time. The vectors of a 1×1 convolution are single
    weights. A linear weight has no kernels and stays dense; the report names it. A criterion's sum over weights is a
    sum of p-th powers for `magnitude(p=2)`: the order of L2 norms.
    Source: Mao et al. 2017, "Exploring the regularity of sparse structure in convolutional neural networks" (1-D).
    """

    piece: ClassVar[str] = "vector"

    def refuses(self, weight: Tensor) -> str | None:
        """Why this weight cannot take the pattern; None if it can."""
        return None if weight.ndim > 2 else "a linear weight has no kernels"

    def split(self, weight: Tensor) -> Tensor:
        """(O·I·kh)×kw."""
        return weight.reshape(-1, weight.shape[-1])
