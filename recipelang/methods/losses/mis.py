"""The loss `mis`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipelang.catalogue import method, setting
from recipelang.errors import SettingError
from recipelang.kinds import OutputLoss
from recipelang.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

    from recipelang.kinds import Task


@method("loss", "mis")
@dataclass(frozen=True)
class Mis(OutputLoss):
    """Minimally invasive surgery: agree with the network before pruning and with the one before its restriction.

    What: trains a network that surgery and a hardware restriction (2:4, few bits) have hurt. It looks at two
    teachers, `from healthy, recovered`: the network before the first surgery, and the one just before the restriction.
    Formula: (α · task(s, y) + β · KL(h ‖ s) + γ · KL(r ‖ s)) / (α + β + γ), with s, h and r the softmax of the outputs
    of the surgical (trained), healthy and recovered network, KL summed over classes and averaged over the batch,
    and y the class that healthy predicts, or the label with `supervised=true`.
    Shapes: outputs B×C of all three, labels B → scalar.
    Scale: the paper gives the plain sum. We divide by the sum of the weights, so that a learning rate means the same as
    for other losses; `61 * mis` is the plain sum of the defaults. Measured after 2:4, tuning for 39 to 62 steps of SGD
    (one seed): ResNet-56 on CIFAR-10 falls from 85 to 52 % and ends at 84 % with learning rate 0.1 and the loss
    divided, but at 70 % with 0.01 and the plain sum (and at 36 % with 0.02), where the task's loss alone reaches 83 %;
    ResNet-20 and the digits tolerate the plain sum at 0.01, and at 0.1 it destroys both. With the divided loss
    ResNet-56 ends at 82, 83 and 84 % for learning rates of 0.01, 0.05 and 0.1: any of them works.
    When it misleads: a student cannot become better than teachers that it mostly imitates; on data that the healthy
    network gets wrong, the unsupervised form repeats its mistakes.
    Source: Yu, Minimally Invasive Surgery for Sparse Neural Networks in Contrastive Manner (CVPR 2021), and its
    appendix 2.1 for the defaults 1, 10, 50 of classification and for the predicted label.
    """

    teachers: ClassVar[tuple[int, int]] = (2, 2)
    complete: ClassVar[bool] = True

    alpha: float = setting(1.0, type="number", low=0, help="Weight of the prediction.")
    beta: float = setting(10.0, type="number", low=0, help="Weight of the divergence from healthy.")
    gamma: float = setting(50.0, type="number", low=0, help="Weight of the divergence from recovered.")
    supervised: bool = setting(
        False, type="boolean", help="Whether predictions are compared with the labels, not with healthy's classes."
    )

    def __post_init__(self) -> None:
        if not self.alpha + self.beta + self.gamma:
            raise SettingError("gamma", "all three weights of `mis` are 0", "write `mis(alpha=1, beta=10, gamma=50)`")

    def compare(self, outputs: Tensor, targets: Tensor, teachers: tuple[Tensor, ...], task: Task) -> Tensor:
        """outputs B×C, targets B, outputs of healthy and of recovered, each B×C → scalar."""
        healthy, recovered = teachers
        target = targets if self.supervised else healthy.argmax(1)
        student = torch.log_softmax(outputs, 1)
        total = (
            self.alpha * task.loss(outputs, target)
            + self.beta * _divergence(healthy, student)
            + self.gamma * _divergence(recovered, student)
        )
        return total / (self.alpha + self.beta + self.gamma)


def _divergence(teacher: Tensor, student: Tensor) -> Tensor:
    """KL(teacher ‖ student): the teacher's outputs B×C, the student's log-probabilities B×C → mean over the batch."""
    return torch.nn.functional.kl_div(student, torch.log_softmax(teacher, 1), reduction="batchmean", log_target=True)
