"""`loss`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipelang.catalogue import method
from recipelang.kinds import Measurement

if TYPE_CHECKING:
    from torch import Tensor


@method("metric", "loss")
@dataclass(frozen=True)
class Loss:
    """Cross-entropy: how surprised the network is by the labels, in nats.

    Formula: loss = 1/N · Σ (log Σ_c exp y_nc − y_n,label).
    Shapes: outputs y N×C (logits), labels N.
    Interval: normal, 95 %, from the standard deviation over samples.
    When it misleads: a few confident mistakes weigh more than many hesitant ones, so it may rise while accuracy rises
        too; networks trained with label smoothing or distillation are not comparable with others.
    Source: Goodfellow, Bengio, Courville, "Deep Learning", 2016, 6.2.2.
    """

    role: ClassVar[str] = "quality"
    better: ClassVar[str] = "lower"
    unit: ClassVar[str] = ""
    source: ClassVar[str] = "predictions"
    bounds: ClassVar[tuple[float, float]] = (0.0, float("inf"))

    def measure(self, outputs: Tensor, labels: Tensor) -> Measurement:
        """outputs N×C, labels N → nats, with one value per sample.

        Raises:
            Refusal: RCP1003, RCP1004: outputs that are not finite, or labels beyond the classes.
        """
        from recipelang.measuring.predictions import cross_entropy

        return cross_entropy(outputs, labels)
