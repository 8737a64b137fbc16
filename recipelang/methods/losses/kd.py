"""The loss `kd`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from recipelang.catalogue import find, method, setting
from recipelang.errors import SettingError
from recipelang.kinds import SEVERAL, OutputLoss

if TYPE_CHECKING:
    from torch import Tensor

    from recipelang.kinds import Task


@method("loss", "kd")
@dataclass(frozen=True)
class Kd(OutputLoss):
    """Knowledge distillation: agree with the softened probabilities of a teacher or an ensemble, and with the labels.

    What: the baseline of all distillation.
    Formula: α · T² · KL(softmax(t/T) ‖ softmax(s/T)) + (1 − α) · task(s, y); s and t are the outputs of student
    and teacher, KL is summed over classes and averaged over the batch. T² keeps the gradient's size as T grows. With
    several labels per image, KL of σ(t/T) and σ(s/T), label by label, as the task says. Where answers are not scores:
    α · D(t, s) + (1 − α) · task(s, y), D the divergence of the task.
    Several teachers: the mean over them of the divergence. Its gradient is that of the divergence from the mean of
    their probabilities, which is the answer of the ensemble; the two differ by how much the teachers disagree.
    Shapes: outputs B×C of student and teachers, labels B → scalar.
    When it misleads: with few classes, or a very confident teacher, soft targets say little more than labels.
    Source: Hinton, Vinyals and Dean 2015, Distilling the Knowledge in a Neural Network, also of ensembles; the mean of
    softened probabilities is equation 4 of You et al. 2017, Learning from Multiple Teacher Networks.
    """

    teachers: ClassVar[tuple[int, int]] = (1, SEVERAL)
    complete: ClassVar[bool] = True

    T: float | None = setting(
        None, type="number", low=0, open_low=True, help="Temperature: higher is softer; default 4, for scores only."
    )
    alpha: float = setting(0.9, type="number", low=0, high=1, help="Weight of the teacher against the labels.")

    def for_task(self, task: str) -> Kd:
        """The same loss with its temperature where answers are scores; others have none."""
        if getattr(find("task", task), "softens", False):
            return replace(self, T=4.0 if self.T is None else self.T)
        if self.T is not None:
            raise SettingError("T", f"`T` softens probabilities, and {task} has none", "leave `T` out")
        return self

    def compare(self, outputs: Tensor, targets: Tensor, teachers: tuple[Tensor, ...], task: Task) -> Tensor:
        """Answers of student and teachers alike, and targets → scalar."""
        temperature = self.for_task(task.name).T
        each = [self._apart(outputs, teacher, temperature, task) for teacher in teachers]
        apart = sum(each[1:], each[0]) / len(each)
        if self.alpha == 1:
            return apart
        return self.alpha * apart + (1 - self.alpha) * task.loss(outputs, targets)

    def _apart(self, outputs: Tensor, teacher: Tensor, temperature: float | None, task: Task) -> Tensor:
        if temperature is None:
            return task.divergence(outputs, teacher)
        return temperature**2 * task.divergence(outputs / temperature, teacher / temperature)
