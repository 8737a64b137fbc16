"""`sparsity`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from recipelang.catalogue import method
from recipelang.kinds import Measurement

if TYPE_CHECKING:
    from torch import nn


@method("metric", "sparsity")
@dataclass(frozen=True)
class Sparsity:
    """Share of zeros among the weights that a sparsity pattern could act on.

    Formula: number of zeros / number of elements, over the weights of all ungrouped convolutions, linear layers and
        attention projections.
    Shapes: weights O×I and O×I×k×k of the training form; biases, norms and depthwise convolutions do not count.
    When it misleads: a zero saves time only where a kernel skips it, and this number does not know that; removed
        layers leave no zeros, so a network with half of its layers gone may read 0 %. A 2:4 network may read
        a little less than 50 %: a first convolution with 3 input channels cannot be 2:4 and stays dense.
    Source: the usual definition of the field.
    """

    role: ClassVar[str] = "property"
    better: ClassVar[str] = "higher"
    unit: ClassVar[str] = "%"
    source: ClassVar[str] = "structure"

    def measure(self, deployed: nn.Module, network: Any, input_shape: tuple[int, int, int]) -> Measurement:
        """Zeros among the weight matrices of `network.module`, a fraction of 1; 0 where there are none."""
        from recipelang.surgery.masks import matrices

        weights = [w for _, part, w in matrices(network.module).values() if getattr(part, "groups", 1) == 1]
        elements = sum(w.numel() for w in weights)
        zeros = sum(int((w == 0).sum()) for w in weights)
        share = zeros / elements if elements else 0.0
        return Measurement(share, share, share)
