"""`flops`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from recipelang.catalogue import method
from recipelang.kinds import Measurement
from recipelang.lazy import torch

if TYPE_CHECKING:
    from torch import nn


@method("metric", "flops")
@dataclass(frozen=True)
class Flops:
    """Floating-point operations for one image, two for each multiply-accumulate.

    Formula: Σ over convolutions, matrix products and attention of 2 · (number of multiply-accumulates);
        norms, activations and additions are not counted. Halve it to compare with papers that print "FLOPs" and
        count multiply-accumulates.
    Shapes: one image 1×C×H×W through the deployed form.
    When it misleads: it is not time. Memory traffic and small layers cost much and count little; at equal FLOPs a
        network with fewer layers is usually faster than one with thinner layers. Zeros of a mask are counted, since
        dense execution multiplies by them.
    Source: torch.utils.flop_counter.
    """

    role: ClassVar[str] = "cost"
    better: ClassVar[str] = "lower"
    unit: ClassVar[str] = "FLOPs"
    source: ClassVar[str] = "structure"

    def measure(self, deployed: nn.Module, network: Any, input_shape: tuple[int, int, int]) -> Measurement:
        """FLOPs of the deployed form for one image of `input_shape` (channels, height, width)."""
        from recipelang.measuring.structure import count_flops

        place = next(deployed.parameters(), torch.empty(0)).device
        count = count_flops(deployed, torch.zeros(1, *input_shape, device=place))
        return Measurement(count, count, count)
