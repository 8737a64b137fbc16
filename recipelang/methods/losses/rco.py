"""The loss `rco`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from recipelang.catalogue import method
from recipelang.kinds import SEVERAL, Moment, Seen, Task
from recipelang.methods.losses.kd import Kd

if TYPE_CHECKING:
    from torch import Tensor, nn


@method("loss", "rco")
@dataclass(frozen=True)
class Rco(Kd):
    """Route-constrained optimisation: the network follows the states that its teacher went through in its own training.

    What: a teacher that has converged is far from a network that begins; states of its training (anchors) lie on the
    way. Each is the teacher for an equal part of the steps, in the order in which `from` names them; the others do not
    compute meanwhile.
    Formula: α · T² · KL(softmax(t_k/T) ‖ softmax(s/T)) + (1 − α) · task(s, y) as in `kd`, t_k the outputs of anchor
    k = ⌊n · step/steps⌋ of n.
    Shapes: outputs B×C of network and anchors, labels B → scalar.
    Anchors: `keep as NAME` between parts of the teacher's training:
    `train for 10 epochs`, `keep as early`, `train for 20 epochs`, and after what makes the network smaller
    `distill from early, healthy for 10 epochs with rco`.
    When it misleads: anchors that are close to each other divide the training and add nothing; a network that begins
    with the teacher's own weights, as a pruned one does, is led back to an earlier state first.
    Source: Jin et al. 2019, Knowledge Distillation via Route Constrained Optimization, with anchors at equal
    intervals and the distance of `kd`.
    """

    teachers: ClassVar[tuple[int, int]] = (2, SEVERAL)

    def consults(self, moment: Moment, count: int) -> tuple[int, ...]:
        """The anchor of this part of the training."""
        return (min(count - 1, moment.step * count // max(1, moment.total)),)

    def __call__(
        self,
        student: Seen,
        teachers: tuple[Seen, ...],
        targets: Any,
        task: Task,
        parts: nn.Module | None,
        moment: Moment,
    ) -> Tensor:
        """Outputs of the network and of the anchor of this step → scalar."""
        anchor = teachers[0] if len(teachers) == 1 else teachers[self.consults(moment, len(teachers))[0]]
        return self.compare(student.outputs, targets, (anchor.outputs,), task)
