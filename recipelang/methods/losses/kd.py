"""The loss `kd`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipelang.catalogue import method, setting
from recipelang.kinds import OutputLoss
from recipelang.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

    from recipelang.kinds import Task


@method("loss", "kd")
@dataclass(frozen=True)
class Kd(OutputLoss):
    """Knowledge distillation: agree with the softened probabilities of one teacher, and with the labels.

    What: the baseline of all distillation.
    Formula: α · T² · KL(softmax(t/T) ‖ softmax(s/T)) + (1 − α) · task(s, y); s and t are the outputs of student
    and teacher, KL is summed over classes and averaged over the batch. T² keeps the gradient's size as T grows.
    Shapes: outputs B×C of student and teacher, labels B → scalar.
    When it misleads: with few classes, or a very confident teacher, soft targets say little more than labels.
    Source: Hinton, Vinyals and Dean 2015, Distilling the Knowledge in a Neural Network.
    """

    teachers: ClassVar[tuple[int, int]] = (1, 1)
    complete: ClassVar[bool] = True

    T: float = setting(4.0, type="number", low=0, open_low=True, help="Temperature: higher is softer.")
    alpha: float = setting(0.9, type="number", low=0, high=1, help="Weight of the teacher against the labels.")

    def compare(self, outputs: Tensor, targets: Tensor, teachers: tuple[Tensor, ...], task: Task) -> Tensor:
        """outputs B×C, targets B, one teacher's outputs B×C → scalar."""
        student = torch.log_softmax(outputs / self.T, 1)
        teacher = torch.log_softmax(teachers[0] / self.T, 1)
        soft = torch.nn.functional.kl_div(student, teacher, reduction="batchmean", log_target=True)
        if self.alpha == 1:
            return self.T**2 * soft
        return self.alpha * self.T**2 * soft + (1 - self.alpha) * task.loss(outputs, targets)
