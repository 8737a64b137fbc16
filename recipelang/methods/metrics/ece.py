"""`ece`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipelang.catalogue import method, setting
from recipelang.methods.metrics._shifted import Shifted

if TYPE_CHECKING:
    from torch import Tensor

    from recipelang.kinds import Measurement, Task
    from recipelang.measuring.calibration import Confidences


@method("metric", "ece")
@dataclass(frozen=True)
class Ece(Shifted):
    """Expected calibration error: how far the confidence of a network is from the share of its answers that are right.

    Formula: ece = Σ_b N_b/N · |accuracy_b − confidence_b| over `bins` intervals of equal width of the confidence, the
        largest probability of softmax(y_n); interval b is (b/bins, (b + 1)/bins].
    Shapes: outputs y N×C (logits), labels N.
    Interval: bootstrap over samples, 95 %. Differences between networks have no interval.
    When it misleads: it is biased upwards with few samples or many bins, and a network that always says how frequent
        each class is has an error of 0; read it beside `top1`.
    Source: Guo et al., "On calibration of modern neural networks", ICML 2017, equation 3; Naeini et al., AAAI 2015.
    """

    role: ClassVar[str] = "quality"
    better: ClassVar[str] = "lower"
    unit: ClassVar[str] = "%"
    source: ClassVar[str] = "predictions"
    tasks: ClassVar[tuple[str, ...]] = ("classification",)

    bins: int = setting(15, type="integer", low=1, high=1000, help="Intervals of the confidence.")

    def start(self, task: Task) -> Confidences:
        """Nothing seen yet."""
        from recipelang.measuring.calibration import Confidences

        return Confidences()

    def add(self, state: Confidences, answer: Tensor, targets: Tensor) -> Confidences:
        """One more batch: scores B×C, labels B."""
        return state.add(answer, targets)

    def result(self, state: Confidences) -> Measurement:
        """A fraction of 1.

        Raises:
            Refusal: RCP1003, RCP1004: outputs that are not finite, or labels beyond the classes.
        """
        from recipelang.measuring.calibration import expected_error

        return expected_error(*state.numbers(), self.bins)
