"""The loss `jacobian`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from recipelang.catalogue import method, setting
from recipelang.errors import Refusal
from recipelang.kinds import Moment, Point, Points, Seen, Task
from recipelang.kinds.points import Pairing
from recipelang.lazy import torch
from recipelang.methods.losses._pairs import PairLoss, ends
from recipelang.methods.losses._positions import STUDENT, TEACHER

if TYPE_CHECKING:
    from torch import Tensor, nn


@method("loss", "jacobian")
@dataclass(frozen=True)
class Jacobian(PairLoss):
    """Jacobian matching: what the network attends to most changes with the input as the teacher's does.

    What: the gradient of the largest value of an attention map with respect to the input, with its length divided out.
    Any two positions can be compared: widths, sizes and classes may differ. It costs a second derivative.
    Formula: β · mean over images of ‖g_s/‖g_s‖₂ − g_t/‖g_t‖₂‖², g = ∂ max q/∂x, x the input that both are given, q the
    attention map, the sum over channels of |a|² for an activation a, B×places. Several positions: the sum; several
    teachers: the mean over them.
    Shapes: activations B×C×H×W, or B×T×D of tokens, inputs B×… of floating point → scalar, between 0 and 4 · β.
    Positions: the ends of the last stages; `plan` shows them.
    When it misleads: gradients of networks with ReLUs jump between places, so that a batch tells little; it says
    nothing about classes, and is added to a loss that does. Whole numbers (ids of tokens) have no gradient. A class
    token counts as a place.
    Source: Srinivas and Fleuret 2018, Knowledge Transfer with Jacobian Matching, section 4.1 (normalised Jacobians of
    the largest value of attention maps); as there, beside a loss of activations such as `at`.
    """

    input_gradients: ClassVar[bool] = True

    beta: float = setting(1.0, type="number", low=0, help="Weight against the task's loss.")
    student: str = setting("", type="text", help=STUDENT)
    teacher: str = setting("", type="text", help=TEACHER)

    def fits(self, mine: Point, theirs: Point) -> str:
        """Any two that depend on the input in a way that can be differentiated."""
        cut = next((point for point in (mine, theirs) if not point.from_inputs), None)
        return f"`{cut.path}` has no gradient to the input" if cut else ""

    def found(self, student: Points, teachers: tuple[Points, ...]) -> tuple[Pairing, ...]:
        """The ends of the last stages."""
        pairing = ends("jacobian", student, teachers)
        for other, points in zip(pairing.teachers, teachers, strict=True):
            if why := self.fits(pairing.student, other):
                pair = f"{pairing.student} of {student.whose} and {other} of {points.whose}"
                raise Refusal(
                    "RCP0823", f"`jacobian` cannot compare {pair}: {why}", "name other positions for the loss"
                )
        return (pairing,)

    def __call__(
        self,
        student: Seen,
        teachers: tuple[Seen, ...],
        targets: Any,
        task: Task,
        parts: nn.Module | None,
        moment: Moment,
    ) -> Tensor:
        """Features and inputs of student and teachers → scalar."""
        mine = [gradient(feature, student.inputs, again=True) for feature in student.features]
        distances = [
            (one - two).square().sum(1).mean()
            for teacher in teachers
            for one, two in zip(mine, (gradient(feature, teacher.inputs) for feature in teacher.features), strict=True)
        ]
        return self.beta * torch.stack(distances).sum() / len(teachers)


def gradient(features: Tensor, inputs: Tensor, *, again: bool = False) -> Tensor:
    """The direction in which the largest attention of each image grows, B×numbers of an input, each of length one.

    Args:
        features: B×C×H×W, B×T×D or B×C, computed from the inputs.
        inputs: B×…, a leaf with gradients.
        again: whether the result can be differentiated.
    """
    attention = features.square().sum(2 if features.ndim == 3 else 1) if features.ndim > 2 else features.square()
    largest = attention.flatten(1).amax(1).sum()  # of all at once: but for BatchNorm, an image depends on itself alone
    (found,) = torch.autograd.grad(largest, inputs, create_graph=again, retain_graph=True)
    return torch.nn.functional.normalize(found.flatten(1), dim=1)
