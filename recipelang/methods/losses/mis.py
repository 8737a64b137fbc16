"""The loss `mis`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipelang.catalogue import method, setting
from recipelang.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

    from recipelang.kinds import Task


@method("loss", "mis")
@dataclass(frozen=True)
class Mis:
    """Minimally invasive surgery (TODO)."""

    teachers: ClassVar[tuple[int, int]] = (2, 2)
    complete: ClassVar[bool] = True

    alpha: float = setting(1.0, type="number", low=0, help="Weight of the prediction.")
    beta: float = setting(10.0, type="number", low=0, help="Weight of the divergence from healthy.")
    gamma: float = setting(50.0, type="number", low=0, help="Weight of the divergence from recovered.")
    supervised: bool = setting(
        False, type="boolean", help="Whether the prediction is held against the labels, not against healthy's classes."
    )

    def __call__(self, outputs: Tensor, labels: Tensor, teachers: tuple[Tensor, ...], task: Task) -> Tensor:
        """outputs B×C, labels B, outputs of healthy and of recovered, each B×C → scalar."""
        healthy, recovered = teachers
        target = labels if self.supervised else healthy.argmax(1)
        student = torch.log_softmax(outputs, 1)
        return (
            self.alpha * task.loss(outputs, target)
            + self.beta * _divergence(healthy, student)
            + self.gamma * _divergence(recovered, student)
        )


def _divergence(teacher: Tensor, student: Tensor) -> Tensor:
    """KL(teacher ‖ student): the teacher's outputs B×C, the student's log-probabilities B×C → mean over the batch."""
    return torch.nn.functional.kl_div(student, torch.log_softmax(teacher, 1), reduction="batchmean", log_target=True)
