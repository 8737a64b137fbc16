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
    """Bytes of the saved weights: a dense safetensors file in float32.

    Formula: 4 bytes for each element of each parameter and floating-point buffer, each stored once, and the header.
    Shapes: the training form's state, as an artifact stores it.
    When it misleads: masks do not shrink it. Zeros are stored like any other number, so a 2:4 network is as large as a
        dense one until it is packed; at run time, memory also holds activations.
    Source: the safetensors format, https://huggingface.co/docs/safetensors.
    """

    role: ClassVar[str] = "cost"
    better: ClassVar[str] = "lower"
    unit: ClassVar[str] = "B"
    source: ClassVar[str] = "structure"

    def measure(self, deployed: nn.Module, network: Any, input_shape: tuple[int, int, int]) -> Measurement:
        """Bytes that the weights of `network.module` take in a file."""
        from recipelang.measuring.structure import stored_bytes

        count = stored_bytes(network.module)
        return Measurement(count, count, count)
