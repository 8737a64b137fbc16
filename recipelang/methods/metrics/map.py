"""`map`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipelang.catalogue import method
from recipelang.methods.metrics._shifted import Shifted

if TYPE_CHECKING:
    from torch import Tensor

    from recipelang.kinds import Measurement, Task
    from recipelang.measuring.labelled import LabelScores


@method("metric", "map")
@dataclass(frozen=True)
class MeanAveragePrecision(Shifted):
    """Mean average precision: how well the score of each label ranks the samples that have it before those without.

    Formula: map = 1/C · Σ_c AP_c, AP_c = Σ_k (R_k − R_k−1) · P_k over the thresholds k of label c, from the highest
        score down; P_k and R_k are the precision and recall of the samples with at least that score. A label that no
        sample of the split has is left out of the mean, and the report says how many are.
    Shapes: outputs y N×C, labels N×C of 0 and 1. The outputs of the whole split are kept: 8 bytes for each label of
        each sample.
    Interval: infinitesimal jackknife, 95 %; of length 0 where every sample is ranked right. Two networks on the same
        samples are compared sample by sample.
    When it misleads: it asks for order alone: scores that are all too high rank as well, and find labels that are not
        there (`f1` asks for the threshold). Rare labels count as much as frequent ones, with wide intervals. Other
        definitions interpolate the precision (PASCAL VOC 2007), and are a little higher.
    Source: Everingham et al. 2010, "The PASCAL visual object classes challenge", without interpolation, as
        `average_precision_score(average="macro")` of scikit-learn; interval: Jaeckel 1972, Efron 1982.
    """

    role: ClassVar[str] = "quality"
    better: ClassVar[str] = "higher"
    unit: ClassVar[str] = "%"
    source: ClassVar[str] = "predictions"
    tasks: ClassVar[tuple[str, ...]] = ("multilabel",)

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
            Refusal: RCP1003, RCP1004: outputs that are not finite, targets that are not labels, or no label holds.
        """
        from recipelang.measuring.labelled import mean_average_precision

        return mean_average_precision(*state.numbers())
