"""`sparsify filters to 50%`: whole filters at zero, which stay in the network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipelang.catalogue import method
from recipelang.methods.patterns._pieces import Pieces

if TYPE_CHECKING:
    from torch import Tensor


@method("pattern", "filters")
@dataclass(frozen=True)
class Filters(Pieces):
    """Filters are zero and stay in the network: the same share of every convolution.

    Written `filters`, with the share of zeros after `to`: `sparsify filters to 50%`, at once or `over agp(…)`.

    What: the 3-D granularity: W[o, :, :, :] is kept or removed whole. Unlike `prune filters`, nothing becomes smaller:
        the bias and the norm after a masked filter still give its channel a constant. A `prune filters` on a later line
        can remove it.
    Formula: S = Σ over the filter of the scores of its weights; of the O filters of a layer the ⌈share · O⌉ with the
        lowest S are zero, of equal ones the last; one always stays.
    Criteria of filters (`fpgm`, `bn`, …): rank the channels that `prune filters` would remove; a filter has the score
        of its channel, so that layers whose channels are added lose the same ones. Convolutions whose channels cannot
        be removed, such as those that make the network's outputs, then stay dense.
    Shapes: scores O×I×kh×kw (or O×I×k) → mask of the same shape.
    When it misleads: it saves no time until the filters are removed. By a criterion of single weights, a convolution
    that makes the network's outputs loses outputs like any other: leave it out with `except`. The rows of a linear
    weight are neurons: it has no filters and stays dense; the report names it.
    Source: Mao et al. 2017, "Exploring the regularity of sparse structure in convolutional neural networks" (3-D); Li
        et al., "Pruning filters for efficient ConvNets", ICLR 2017.
    """

    piece: ClassVar[str] = "filter"
    scores: ClassVar[tuple[str, ...]] = ("element", "filter", "any")

    def split(self, weight: Tensor) -> Tensor:
        """O×(I·kh·kw)."""
        return weight.flatten(1)
