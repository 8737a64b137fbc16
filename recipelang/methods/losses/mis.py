"""The loss `mis`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from recipelang.catalogue import method, setting
from recipelang.errors import SettingError
from recipelang.kinds import DEFAULT_TASK, OutputLoss

if TYPE_CHECKING:
    from torch import Tensor

    from recipelang.kinds import Task

#: α, β and γ of the paper's appendix, 2.1 to 2.5
WEIGHTS = {"classification": (1.0, 10.0, 50.0), "superresolution": (1.0, 1.5, 3.0)}


@method("loss", "mis")
@dataclass(frozen=True)
class Mis(OutputLoss):
    """Minimally invasive surgery: agree with the network before pruning and with the one before its restriction.

    What: trains a network that surgery and a hardware restriction (2:4, few bits) have hurt. It looks at two
    teachers, `from healthy, recovered`: the network before the first surgery, and the one just before the restriction.
    Formula: (α · task(s, y) + β · D(h, s) + γ · D(r, s)) / (α + β + γ), with s, h and r the answers of the surgical
    (trained), healthy and recovered network, D the divergence of the task (classification: KL of the softmax of the
    outputs, summed over classes and averaged over the batch; several labels: KL of each label; super-resolution: the
    distance of pixels), and y the class or the labels that healthy predicts, or its image; the data's own target with
    `supervised=true`.
    Defaults: α, β, γ are 1, 10, 50; in super-resolution 1, 1.5, 3.
    Shapes: answers of all three alike, B×C or B×C×H×W, and targets → scalar.
    Scale: the paper gives the plain sum. We divide by the sum of the weights, so that a learning rate means the same as
    for other losses; `61 * mis` is the plain sum of the defaults. Measured after 2:4, tuning for 39 to 62 steps of SGD
    (one seed): ResNet-56 on CIFAR-10 falls from 85 to 52 % and ends at 84 % with learning rate 0.1 and the loss
    divided, but at 70 % with 0.01 and the plain sum (and at 36 % with 0.02), where the task's loss alone reaches 83 %;
    ResNet-20 and the digits tolerate the plain sum at 0.01, and at 0.1 it destroys both. With the divided loss
    ResNet-56 ends at 82, 83 and 84 % for learning rates of 0.01, 0.05 and 0.1: any of them works.
    When it misleads: a student cannot become better than teachers that it mostly imitates; on data that the healthy
    network gets wrong, the unsupervised form repeats its mistakes.
    Source: Yu, Minimally Invasive Surgery for Sparse Neural Networks in Contrastive Manner (CVPR 2021), and its
    appendix 2.1 to 2.5 for the defaults of each task and for the predicted label.
    """

    teachers: ClassVar[tuple[int, int]] = (2, 2)
    complete: ClassVar[bool] = True

    alpha: float | None = setting(None, type="number", low=0, help="Weight of the prediction; default 1.")
    beta: float | None = setting(
        None, type="number", low=0, help="Weight of the divergence from healthy; default 10, in super-resolution 1.5."
    )
    gamma: float | None = setting(
        None, type="number", low=0, help="Weight of the divergence from recovered; default 50, in super-resolution 3."
    )
    supervised: bool = setting(
        False, type="boolean", help="Whether predictions are compared with the targets, not with healthy's answers."
    )

    def __post_init__(self) -> None:
        if not any(weight is None or weight for weight in (self.alpha, self.beta, self.gamma)):
            raise SettingError("gamma", "all three weights of `mis` are 0", "write `mis(alpha=1, beta=10, gamma=50)`")

    def for_task(self, task: str) -> Mis:
        """The same loss with the paper's weights for a task where a recipe gives none."""
        alpha, beta, gamma = self._weights(task)
        return replace(self, alpha=alpha, beta=beta, gamma=gamma)

    def compare(self, outputs: Tensor, targets: Tensor, teachers: tuple[Tensor, ...], task: Task) -> Tensor:
        """Answers of the student, targets, answers of healthy and of recovered → scalar."""
        healthy, recovered = teachers
        alpha, beta, gamma = self._weights(task.name)
        total = (
            alpha * task.loss(outputs, targets if self.supervised else task.labels(healthy))
            + beta * task.divergence(outputs, healthy)
            + gamma * task.divergence(outputs, recovered)
        )
        return total / (alpha + beta + gamma)

    def _weights(self, task: str) -> tuple[float, float, float]:
        usual = WEIGHTS.get(task, WEIGHTS[DEFAULT_TASK])
        given = (self.alpha, self.beta, self.gamma)
        alpha, beta, gamma = (own if own is not None else other for own, other in zip(given, usual, strict=True))
        return alpha, beta, gamma
