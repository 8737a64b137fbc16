"""`top5`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipelang.catalogue import method
from recipelang.errors import Refusal
from recipelang.methods.metrics._shifted import Shifted

if TYPE_CHECKING:
    from torch import Tensor

    from recipelang.kinds import Measurement, Task
    from recipelang.measuring.predictions import SampleValues


@method("metric", "top5")
@dataclass(frozen=True)
class Top5(Shifted):
    """Top-5 accuracy: the share of samples whose label is among the five highest outputs.

    Formula: top5 = 1/N · Σ [fewer than five classes are ahead of label_n]; of equal outputs, the lower class is ahead.
    Shapes: outputs y N×C with C ≥ 5, labels N.
    Interval: Wilson's score interval, 95 %.
    When it misleads: with few classes it is near 100 % for any network, and with five it is always 100 %.
    Source: Russakovsky et al., "ImageNet large scale visual recognition challenge", IJCV 2015.
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
        """One more batch: scores B×C, labels B.

        Raises:
            Refusal: RCP1002: fewer than five classes.
        """
        from recipelang.measuring.predictions import correct

        if answer.ndim == 2 and answer.shape[1] < 5:
            raise Refusal(
                "RCP1002", f"`top5` needs 5 classes, and the network distinguishes {answer.shape[1]}", "measure `top1`"
            )
        return state.add(answer, targets, lambda outputs, labels: correct(outputs, labels, 5))

    def result(self, state: SampleValues) -> Measurement:
        """A fraction of 1, with 0 or 1 per sample.

        Raises:
            Refusal: RCP1003, RCP1004: outputs that are not finite, or labels beyond the classes.
        """
        from recipelang.measuring.predictions import share

        return share(state.numbers())
