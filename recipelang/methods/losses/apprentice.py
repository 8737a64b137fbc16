"""The loss `apprentice`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipelang.catalogue import method, setting
from recipelang.errors import SettingError
from recipelang.kinds import OutputLoss

if TYPE_CHECKING:
    from torch import Tensor

    from recipelang.kinds import Task


@method("loss", "apprentice")
@dataclass(frozen=True)
class Apprentice(OutputLoss):
    """A network of few bits learns from the one in full precision, as much as from the labels.

    What: distillation around any quantizer that learns: `quantize weights to 4 bits by wrpn` and then
        `distill from healthy for … with apprentice` is the paper's scheme C, in which student and teacher begin with
        the same weights. Scheme A trains the teacher as well, whose term α·H(y, teacher) does not concern the student.
    Formula: β · task(s, y) + γ · D(t, s); s and t are the answers of student and teacher, D the divergence of the task
        (classification: KL of the softmax at temperature 1, which differs from the paper's cross-entropy by the entropy
        of the teacher, and has the same gradient).
    Shapes: answers of student and teacher alike, and targets → scalar.
    When it misleads: a teacher of this temperature is nearly a label; `kd(T=4)` says more about the other classes.
    Source: Mishra and Marr 2018, "Apprentice: Using Knowledge Distillation Techniques To Improve Low-Precision Network
        Accuracy", equation 1, with α = 1, β = γ = 0.5, and section 4.
    """

    teachers: ClassVar[tuple[int, int]] = (1, 1)
    complete: ClassVar[bool] = True

    beta: float = setting(0.5, type="number", low=0, help="Weight of the labels.")
    gamma: float = setting(0.5, type="number", low=0, help="Weight of the teacher.")

    def __post_init__(self) -> None:
        if not self.beta and not self.gamma:
            raise SettingError("gamma", "both weights of `apprentice` are 0", "write `apprentice(beta=0.5, gamma=0.5)`")

    def compare(self, outputs: Tensor, targets: Tensor, teachers: tuple[Tensor, ...], task: Task) -> Tensor:
        """Answers of student and teacher alike, and targets → scalar."""
        return self.beta * task.loss(outputs, targets) + self.gamma * task.divergence(outputs, teachers[0])
