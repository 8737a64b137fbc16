"""`params`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from recipelang.catalogue import method
from recipelang.kinds import Measurement

if TYPE_CHECKING:
    from torch import nn


@method("metric", "params")
@dataclass(frozen=True)
class Params:
    """Number of parameters.

    Formula: Σ over the network's parameters of their number of elements, shared ones once.
    Shapes: the training form, so the scales and shifts of norms count; running statistics do not.
    When it misleads: parameters in late layers are many and cheap to run, those in early layers few and costly; weights
        that a mask keeps at zero count in full (see `sparsity`).
    Source: the usual count of the field, as in torchvision's model tables.
    """

    role: ClassVar[str] = "cost"
    better: ClassVar[str] = "lower"
    unit: ClassVar[str] = "params"
    source: ClassVar[str] = "structure"
    by_bits: ClassVar[bool] = False

    def measure(self, deployed: nn.Module, network: Any, input_shape: tuple[int, ...]) -> Measurement:
        """Parameters of `network.module`."""
        count = sum(p.numel() for p in network.module.parameters())
        return Measurement(count, count, count)
