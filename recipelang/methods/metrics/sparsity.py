"""`sparsity`, `sparsity(of=kernels)`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from recipelang.catalogue import find, method, setting
from recipelang.kinds import Measurement

if TYPE_CHECKING:
    from torch import nn

#: patterns whose pieces can be counted
PIECES = ("weights", "vectors", "kernels", "filters")


@method("metric", "sparsity")
@dataclass(frozen=True)
class Sparsity:
    """Share of zeros among the weights that multiply what the network computes.

    Formula: number of zeros / number of elements, over every weight that enters a product in the forward pass: of
        convolutions (grouped and transposed ones too), of linear and bilinear layers, of attention and of recurrent
        layers, and parameters that functions multiply by; each once. A weight that is computed from parameters (weight
        norm, masks beside a weight) counts with the values that it has in the product. The number of weights counted is
        given beside it.
    Pieces: with `of`, the share of zero pieces among the weights of convolutions, as `sparsify` has them: rows of
        kernels (`vectors`), kernels, filters; a piece is zero where all of its weights are. Linear weights have none.
    Shapes: the training form; biases, norms, embeddings, positions, fixed tensors and layers that take no part in
        evaluation do not count.
    When it misleads: a zero saves time only where a kernel skips it, which this number does not show; removed layers
        leave no zeros, so a network with half of its layers gone may read 0 %. A 2:4 network may read less than 50 %: a
        first convolution with 3 input channels and depthwise ones cannot be 2:4 and stay dense.
    Source: the usual definition of the field.
    """

    role: ClassVar[str] = "property"
    better: ClassVar[str] = "higher"
    unit: ClassVar[str] = "%"
    source: ClassVar[str] = "structure"
    version: ClassVar[int] = 2

    of: str = setting("weights", type="word", choices=PIECES, later=True, help="What is counted where it is zero.")

    def measure(self, deployed: nn.Module, network: Any, input_shape: tuple[int, ...]) -> Measurement:
        """Zeros among the weights of `network.module` that enter products, or among their pieces, a fraction of 1; 0 if
        there are none.

        Raises:
            Refusal: RCP0731: the network's products cannot be watched.
        """
        from recipelang.surgery.products import products_of

        pattern: Any = find("pattern", self.of)
        parts = [part for product in products_of(network) for part in product.parts if not pattern().refuses(part)]
        pieces = [pattern().split(part).bool().any(1) for part in parts]
        count = sum(len(nonzero) for nonzero in pieces)
        share = sum(len(nonzero) - int(nonzero.sum()) for nonzero in pieces) / count if count else 0.0
        return Measurement(share, share, share, note=f"of {count:,} {self.of}")
