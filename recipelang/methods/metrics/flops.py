"""`flops`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from recipelang.catalogue import method
from recipelang.kinds import Measurement, inputs_of

if TYPE_CHECKING:
    from torch import nn


@method("metric", "flops")
@dataclass(frozen=True)
class Flops:
    """Floating-point operations for one image, two for each multiply-accumulate.

    Formula: Σ over convolutions, matrix products, attention and recurrent cells of 2 · (number of
        multiply-accumulates), the same in every kernel; an attention mask saves nothing, `nn.Bilinear` counts the
        product x W and that with y. Norms, activations and additions are not counted. Halve it to compare with papers
        that print "FLOPs" and count multiply-accumulates. Operations that may multiply but whose formula is not known,
        such as custom kernels and Fourier transforms, are named beside the number.
    Shapes: one image 1×C×H×W through the deployed form.
    When it misleads: it is not time. Memory traffic and small layers take long and count little; at equal FLOPs a
        network with fewer layers is usually faster than one with thinner layers. Zeros of a mask are counted, since
        dense execution multiplies by them. Computation outside torch is not counted.
    Source: torch.utils.flop_counter, and our own formulas where it has none.
    """

    role: ClassVar[str] = "cost"
    better: ClassVar[str] = "lower"
    unit: ClassVar[str] = "FLOPs"
    source: ClassVar[str] = "structure"
    by_bits: ClassVar[bool] = False
    version: ClassVar[int] = 2

    def measure(self, deployed: nn.Module, network: Any, input_shape: tuple[int, ...]) -> Measurement:
        """FLOPs of the deployed form for one input of `input_shape`, (channels, height, width) for images.

        Raises:
            Refusal: RCP0730: the network does not run while its operations are watched.
        """
        from recipelang.measuring.flops import count
        from recipelang.surgery.tracing import example

        found = count(deployed, example(deployed, input_shape, 1, inputs_of(network)))
        note = f"not counted: {', '.join(found.uncounted)}" if found.uncounted else ""
        return Measurement(found.flops, found.flops, found.flops, note=note)
