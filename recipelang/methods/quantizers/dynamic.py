"""`dynamic`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipelang import catalogue
from recipelang.catalogue import method
from recipelang.kinds import Observed, Quantizer, Restriction, Scheme

if TYPE_CHECKING:
    from torch import Tensor


@method("quantizer", "dynamic")
@dataclass(frozen=True)
class Dynamic(Quantizer):
    """Linear layers multiply integers of 8 bits; the range of what they read is computed each time that they run.

    What: for transformers, whose activations have outliers that differ from input to input. Nothing is observed and
        nothing is clipped, so that no data are needed. Convolutions, and sums, stay in floating point.
    Formula: activations, one range for the whole tensor: scale = (max(x, 0) − min(x, 0)) / 255, zero point
        round(−min(x, 0) / scale), integers 0 … 255. Weights, for each output channel: scale = max |w| / 127.
    Shapes: an activation of any shape → one range.
    Executed: onnxruntime: DynamicQuantizeLinear and MatMulInteger, fused into one operation. OpenVINO and torch compute
        the same in float32.
    Measured: docs/quantization.md has times (`benchmarks/transformers.py`).
    When it misleads: the range is that of the whole batch, so an answer depends a little on the other inputs of its
        batch: evaluation in batches is not exactly what batches of one give.
    Source: ONNX, operator DynamicQuantizeLinear; Zafrir et al., "Q8BERT: quantized 8bit BERT", 2019, for weights and
        activations of 8 bits in transformers.
    """

    bits: ClassVar[tuple[int, ...]] = (8,)
    observes: ClassVar[bool] = False
    products: ClassVar[tuple[str, ...]] = ("linear",)

    def range(self, observed: Observed, scheme: Scheme) -> tuple[Tensor, Tensor]:
        """The extremes of a weight."""
        return observed.low, observed.high

    def restriction(self, observed: Observed, scheme: Scheme) -> Restriction | None:
        """A grid for a weight, and for an activation one whose range is computed."""
        if scheme.axis is not None:
            return super().restriction(observed, scheme)
        made: Restriction = catalogue.part("restriction", "dynamic")()
        return made
