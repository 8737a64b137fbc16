"""`top1`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipelang.catalogue import method
from recipelang.methods.metrics._shifted import Shifted

if TYPE_CHECKING:
    from torch import Tensor

    from recipelang.kinds import Measurement, Task
    from recipelang.measuring.predictions import SampleValues


@method("metric", "top1")
@dataclass(frozen=True)
class Top1(Shifted):
    """Accuracy: the share of samples whose highest output is the label.

    Formula: top1 = 1/N · Σ [argmax_c y_nc = label_n]; of equal outputs, the lower class counts. `top1(blur=0.9)` and
        `top1(noise=0.1)` measure it on disturbed images.
    Shapes: outputs y N×C, labels N.
    Interval: Wilson's score interval, 95 %. Two networks on the same samples are compared sample by sample.
    When it misleads: with classes of very different size, where the largest class decides; and against a network that
        was not trained as long, since tuning alone changes it (add `control`).
    Source: Wilson, "Probable inference, the law of succession, and statistical inference", JASA 1927 (interval).
    """

    role: ClassVar[str] = "quality"
    better: ClassVar[str] = "higher"
    unit: ClassVar[str] = "%"
    source: ClassVar[str] = "predictions"
    tasks: ClassVar[tuple[str, ...]] = ("classification",)

    def start(self, task: Task) -> SampleValues:
        """Nothing seen yet."""
        from recipelang.measuring.predictions import SampleValues

        return SampleValues()

    def add(self, state: SampleValues, answer: Tensor, targets: Tensor) -> SampleValues:
        """One more batch: scores B×C, labels B."""
        from recipelang.measuring.predictions import correct

        return state.add(answer, targets, lambda outputs, labels: correct(outputs, labels, 1))

    def result(self, state: SampleValues) -> Measurement:
        """A fraction of 1, with 0 or 1 per sample.

        Raises:
            Refusal: RCP1003, RCP1004: outputs that are not finite, or labels beyond the classes.
        """
        from recipelang.measuring.predictions import share

        return share(state.numbers())
