"""`sparsify kernels to 60%`: whole kernels, one for each filter and input channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipelang.catalogue import method
from recipelang.methods.patterns._pieces import Pieces

if TYPE_CHECKING:
    from torch import Tensor


@method("pattern", "kernels")
@dataclass(frozen=True)
class Kernels(Pieces):
    """Kernels are zero, each of which connects an input channel to a filter: the same share of every convolution.

    Written `kernels`, with the share of zeros after `to`: `sparsify kernels to 60%`, at once or `over agp(…)`.

    What: the 2-D granularity: W[o, i, :, :] is kept or removed whole, so that a filter does not read every channel.
    Formula: S = Σ over the kernel of the scores of its weights; of the N = O·I kernels of a layer the ⌈share · N⌉ with
        the lowest S are zero, of equal ones the last; one always stays.
    Shapes: scores O×I×kh×kw (or O×I×k) → mask of the same shape.
    When it misleads: no library here skips kernels, so they save no time. The kernels of a 1×1 convolution are single
    weights. A linear weight has no kernels and stays dense; the report names it.
    Source: Mao et al. 2017, "Exploring the regularity of sparse structure in convolutional neural networks" (2-D).
    """

    piece: ClassVar[str] = "kernel"

    def split(self, weight: Tensor) -> Tensor:
        """(O·I)×(kh·kw)."""
        return weight.reshape(len(weight) * weight.shape[1], -1)
