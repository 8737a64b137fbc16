"""`loss`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipelang.catalogue import method
from recipelang.lazy import torch
from recipelang.methods.metrics._shifted import Shifted

if TYPE_CHECKING:
    from torch import Tensor

    from recipelang.kinds import Measurement, Task
    from recipelang.measuring.predictions import SampleValues


@method("metric", "loss")
@dataclass(frozen=True)
class Loss(Shifted):
    """Cross-entropy: how surprised the network is by the labels, in nats.

    Formula: loss = 1/N · Σ (log Σ_c exp y_nc − y_n,label). Of several labels per image: the mean over labels of
        log(1 + exp(−y_nc)) where label c holds, and of log(1 + exp(y_nc)) where it does not.
    Shapes: outputs y N×C (logits), labels N, or N×C of 0 and 1.
    Interval: normal, 95 %, from the standard deviation over samples.
    When it misleads: a few confident mistakes weigh more than many hesitant ones, so it may rise while accuracy rises
        too; networks trained with label smoothing or distillation are not comparable with others.
    Source: Goodfellow, Bengio, Courville, "Deep Learning", 2016, 6.2.2.
    """

    role: ClassVar[str] = "quality"
    better: ClassVar[str] = "lower"
    unit: ClassVar[str] = ""
    source: ClassVar[str] = "predictions"
    tasks: ClassVar[tuple[str, ...]] = ("classification", "multilabel")
    bounds: ClassVar[tuple[float, float]] = (0.0, float("inf"))

    def start(self, task: Task) -> SampleValues:
        """Nothing seen yet."""
        from recipelang.measuring.predictions import SampleValues

        return SampleValues()

    def add(self, state: SampleValues, answer: Tensor, targets: Tensor) -> SampleValues:
        """One more batch: scores B×C, labels B or B×C."""
        from recipelang.measuring.labelled import incomparable_labels

        if targets.ndim == 2:
            return state.add(answer, targets, _of_labels, incomparable_labels)
        loss = torch.nn.functional.cross_entropy
        return state.add(answer, targets, lambda outputs, labels: loss(outputs.float(), labels, reduction="none"))

    def result(self, state: SampleValues) -> Measurement:
        """Nats, with one value per sample.

        Raises:
            Refusal: RCP1003, RCP1004: outputs that are not finite, or labels beyond the classes.
        """
        from recipelang.measuring.predictions import mean_of

        return mean_of(state.numbers())


def _of_labels(outputs: Tensor, labels: Tensor) -> Tensor:
    """Outputs B×C, labels B×C of 0 and 1 → the mean over labels, B."""
    loss = torch.nn.functional.binary_cross_entropy_with_logits
    return loss(outputs.float(), labels.float(), reduction="none").mean(1)
