"""`size`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from recipelang.catalogue import method
from recipelang.kinds import Measurement

if TYPE_CHECKING:
    from torch import nn


@method("metric", "size")
@dataclass(frozen=True)
class Size:
    """Bytes of the saved weights: a dense safetensors file in float32, quantized weights with the bits of their grid.

    Formula: 4 bytes for each element of each parameter and floating-point buffer, each stored once, and the header; for
        a quantized weight bits/8 bytes for each element, and for each grid 4 bytes a scale and 1 byte a zero point.
    Shapes: the training form's state.
    When it misleads: masks do not shrink it. Zeros are stored like any other number, so a 2:4 network is as large as a
        dense one until it is packed; at run time, memory also holds activations. The network in the folder of a run
        keeps its weights in full precision, so that training can go on: its file does not shrink with the bits.
    Source: the safetensors format, https://huggingface.co/docs/safetensors.
    """

    role: ClassVar[str] = "cost"
    better: ClassVar[str] = "lower"
    unit: ClassVar[str] = "B"
    source: ClassVar[str] = "structure"

    def measure(self, deployed: nn.Module, network: Any, input_shape: tuple[int, ...]) -> Measurement:
        """Bytes that the weights of `network.module` take in a file."""
        from recipelang.measuring.structure import stored_bytes

        count = stored_bytes(network.module, network.restrictions)
        return Measurement(count, count, count)
