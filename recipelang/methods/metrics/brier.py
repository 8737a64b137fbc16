"""`brier`."""

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


@method("metric", "brier")
@dataclass(frozen=True)
class Brier(Shifted):
    """Brier score: how far the probabilities of the classes are from what is true, squared.

    Formula: brier = 1/N · Σ_n Σ_c (p_nc − [c = label_n])², p_n = softmax(y_n): 0 at best, 2 at worst, 1 − 1/C for
        probabilities that are all equal. `brier(blur=0.9)` and `brier(noise=0.1)` measure it on disturbed images.
    Shapes: outputs y N×C (logits), labels N.
    Interval: normal, 95 %, from the standard deviation over samples.
    When it misleads: it mixes accuracy with calibration; `ece` measures calibration alone. Other definitions sum over
        two classes or divide by C.
    Source: Brier, "Verification of forecasts expressed in terms of probability", Monthly Weather Review 1950; under
        blur and noise as in Elkerdawy's thesis, table 6.4.
    """

    role: ClassVar[str] = "quality"
    better: ClassVar[str] = "lower"
    unit: ClassVar[str] = ""
    source: ClassVar[str] = "predictions"
    tasks: ClassVar[tuple[str, ...]] = ("classification",)
    bounds: ClassVar[tuple[float, float]] = (0.0, 2.0)

    def start(self, task: Task) -> SampleValues:
        """Nothing seen yet."""
        from recipelang.measuring.predictions import SampleValues

        return SampleValues()

    def add(self, state: SampleValues, answer: Tensor, targets: Tensor) -> SampleValues:
        """One more batch: scores B×C, labels B."""
        return state.add(answer, targets, squared_errors)

    def result(self, state: SampleValues) -> Measurement:
        """A number from 0 to 2, with one value per sample.

        Raises:
            Refusal: RCP1003, RCP1004: outputs that are not finite, or labels beyond the classes.
        """
        from recipelang.measuring.predictions import mean_of

        return mean_of(state.numbers())


def squared_errors(outputs: Tensor, labels: Tensor) -> Tensor:
    """Outputs N×C, labels N → Σ_c (p_nc − [c = label_n])², N."""
    true = torch.nn.functional.one_hot(labels, outputs.shape[1])
    return (outputs.float().softmax(1) - true).square().sum(1)
