"""`size`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from recipelang.catalogue import method, setting
from recipelang.kinds import Measurement

if TYPE_CHECKING:
    from torch import nn


@method("metric", "size")
@dataclass(frozen=True)
class Size:
    """Bytes of the saved weights: a dense safetensors file in float32, weights of few values with the bits of these.

    Formula: 4 bytes for each element of each parameter and floating-point buffer, each stored once, and the header; for
        a quantized weight bits/8 bytes for each element, and for each grid 4 bytes a scale and 1 byte a zero point.
        For a weight of K shared values 4·K bytes and log2(K) bits for each element; where zeros are masked, for each
        nonzero log2(K) bits and those of the gap before it (how many zeros are skipped, in as many bits as are fewest
        in all; a run that is too long takes a filler). After `encode` the bytes of the encoder instead, with its
        tables. With `gaps=true` a masked weight that shares nothing counts as 32 bits and a gap for each nonzero.
    Shapes: the training form's state.
    When it misleads: masks alone do not shrink it. Zeros are stored like any other number, so a 2:4 network is as large
        as a dense one until it is packed; at run time, memory also holds activations. The network in the folder of a
        run keeps its weights in full precision, so that training can go on: its file is smaller only after `encode`.
    Source: the safetensors format, https://huggingface.co/docs/safetensors; gaps and shared values: Han, Mao and
        Dally 2016, "Deep Compression", arXiv:1510.00149, figure 2 and table 4.
    """

    gaps: bool = setting(
        False,
        type="boolean",
        later=True,
        help="Whether a masked weight counts as its nonzeros and the gaps between them, where that is smaller.",
    )

    role: ClassVar[str] = "cost"
    better: ClassVar[str] = "lower"
    unit: ClassVar[str] = "B"
    source: ClassVar[str] = "structure"

    def measure(self, deployed: nn.Module, network: Any, input_shape: tuple[int, ...]) -> Measurement:
        """Bytes that the weights of `network.module` take in a file."""
        from recipelang.measuring.structure import stored_bytes
        from recipelang.surgery.encoding import encoder_named

        encoder = encoder_named(network.encoded) if network.encoded else None
        count = stored_bytes(network.module, network.restrictions, encoder=encoder, gaps=self.gaps)
        return Measurement(count, count, count)
