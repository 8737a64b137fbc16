"""The task `classification`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from recipelang.catalogue import method, setting
from recipelang.lazy import torch
from recipelang.methods.tasks._scores import scores

if TYPE_CHECKING:
    from torch import Tensor

    from recipelang.kinds import Labels


@method("task", "classification")
@dataclass(frozen=True)
class Classification:
    """One class per image.

    What: the loss is the cross-entropy of the outputs with the labels, mean over the batch.
    Formula: −Σ_c y_c · log softmax(outputs)_c, with y the label, smoothed as (1 − s)·label + s/C.
    Divergence: KL(teacher ‖ student) of the softmax of both outputs, summed over classes, mean over the batch.
    Shapes: outputs B×C, labels B → scalar.
    When it misleads: accuracy counts every class by its share of the data; rare classes hardly matter.
    Source: cross-entropy; label smoothing of Szegedy et al. 2016.
    """

    metrics: ClassVar[tuple[str, ...]] = ("top1", "loss")
    target: ClassVar[str] = "class"
    labelled: ClassVar[bool] = True
    softens: ClassVar[bool] = True
    gives: ClassVar[str] = "one score per class"
    form: ClassVar[str] = "B×C"
    stand_in: ClassVar[tuple[str, str]] = ("digits", "digits_resnet")

    smoothing: float = setting(
        0.0, type="number", low=0, high=0.9, help="Label smoothing s, in training: 0.1 is usual for large data sets."
    )

    def answer(self, raw: Any, targets: Any = None, labels: Labels | None = None) -> Tensor:
        """Scores B×C in float32.

        Raises:
            Refusal: RCP0812: it is not one score per class, or the data has another number of classes.
        """
        return scores(raw, targets, labels, "class", "classes", "classification")

    def loss(self, answer: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy: outputs B×C, labels B or shares of classes B×C → scalar, mean over the batch."""
        return torch.nn.functional.cross_entropy(answer, targets, label_smoothing=self.smoothing)

    def divergence(self, student: Tensor, teacher: Tensor) -> Tensor:
        """KL(teacher ‖ student): outputs B×C of both → scalar, mean over the batch."""
        own, given = torch.log_softmax(student, 1), torch.log_softmax(teacher, 1)
        return torch.nn.functional.kl_div(own, given, reduction="batchmean", log_target=True)

    def labels(self, answer: Tensor) -> Tensor:
        """Outputs B×C → the class with the highest one, int64 B."""
        return answer.argmax(1)

    def score(self, answer: Tensor, targets: Tensor) -> tuple[str, Tensor]:
        """Accuracy: the number of correct answers of the batch; of shares of classes B×C the largest is the label."""
        from recipelang.measuring.predictions import correct

        return "accuracy", correct(answer, targets if targets.ndim == 1 else targets.argmax(1), 1).sum()
