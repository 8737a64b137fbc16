"""The loss `task`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipelang.catalogue import method
from recipelang.kinds import OutputLoss

if TYPE_CHECKING:
    from torch import Tensor

    from recipelang.kinds import Task


@method("loss", "task")
@dataclass(frozen=True)
class TaskLoss(OutputLoss):
    """The task's own loss: for classification, the cross-entropy with the labels.

    What: what `train` and `finetune` minimise by default, and the term to add to a sum of others.
    Shapes: outputs B×C, labels B → scalar.
    """

    teachers: ClassVar[tuple[int, int]] = (0, 0)
    complete: ClassVar[bool] = True

    def compare(self, outputs: Tensor, targets: Tensor, teachers: tuple[Tensor, ...], task: Task) -> Tensor:
        """outputs B×C, targets B → scalar; `teachers` are not used."""
        return task.loss(outputs, targets)
