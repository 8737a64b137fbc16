"""`f1`, `f1(average=macro, threshold=0.3)`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipelang.catalogue import method, setting
from recipelang.methods.metrics._shifted import Shifted

if TYPE_CHECKING:
    from torch import Tensor

    from recipelang.kinds import Measurement, Task
    from recipelang.measuring.labelled import LabelScores


@method("metric", "f1")
@dataclass(frozen=True)
class F1(Shifted):
    """F1: the harmonic mean of precision and recall of the labels that are found.

    Formula: f1 = 2·TP / (2·TP + FP + FN); a label is found where its probability σ(y) is above `threshold`. `micro`
        counts over all labels together; `macro` is the mean over labels, without those that no sample has and that
        none is given, of which the report says how many there are.
    Shapes: outputs y N×C, labels N×C of 0 and 1. The outputs of the whole split are kept: 8 bytes for each label of
        each sample.
    Interval: infinitesimal jackknife, 95 %; of length 0 where every label is right. Two networks on the same samples
        are compared sample by sample.
    When it misleads: it depends on the threshold, which is best at another place for each label and after each
        training; `map` does not. `micro` is decided by the frequent labels.
    Source: van Rijsbergen 1979, "Information retrieval", chapter 7; averages as in Tsoumakas and Katakis 2007;
        interval: Jaeckel 1972, Efron 1982.
    """

    role: ClassVar[str] = "quality"
    better: ClassVar[str] = "higher"
    unit: ClassVar[str] = "%"
    source: ClassVar[str] = "predictions"
    tasks: ClassVar[tuple[str, ...]] = ("multilabel",)

    average: str = setting("micro", type="word", choices=("micro", "macro"), help="Of all labels, or over labels.")
    threshold: float = setting(
        0.5, type="number", low=0, high=1, help="A label is found where its probability is above it."
    )

    def start(self, task: Task) -> LabelScores:
        """Nothing seen yet."""
        from recipelang.measuring.labelled import LabelScores

        return LabelScores()

    def add(self, state: LabelScores, answer: Tensor, targets: Tensor) -> LabelScores:
        """One more batch: scores B×C, labels B×C."""
        return state.add(answer, targets)

    def result(self, state: LabelScores) -> Measurement:
        """A fraction of 1.

        Raises:
            Refusal: RCP1003, RCP1004: outputs that are not finite, targets that are not labels, or none is found or
                true.
        """
        from recipelang.measuring.labelled import f1

        scores, holds = state.numbers()
        return f1(scores > _logit(self.threshold), holds, self.average)


def _logit(share: float) -> float:
    if share in (0.0, 1.0):
        return math.inf if share else -math.inf
    return math.log(share / (1 - share))
