"""The loss `sp`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from recipelang.catalogue import method, setting
from recipelang.kinds import Pairing, Point, Points
from recipelang.lazy import torch
from recipelang.methods.losses._pairs import PairLoss, ends
from recipelang.methods.losses._positions import STUDENT, TEACHER

if TYPE_CHECKING:
    from torch import Tensor


@method("loss", "sp")
@dataclass(frozen=True)
class Sp(PairLoss):
    """Similarity preservation: images that are alike to the teacher are alike to the network.

    What: compares how images of a batch relate, not what an activation is, so that any two positions can be compared:
    widths, sizes and classes may differ.
    Formula: γ/B² · ‖G_s − G_t‖²_F for each pair of positions, G = QQᵀ with rows of length one, Q the activations of a
    batch as B rows. Several positions: the sum; several teachers: the mean over them.
    Shapes: activations B×… of student and teachers → scalar.
    Positions: the ends of the last stages; `plan` shows them.
    When it misleads: it is a matter of the batch, so that `batch=` of the data changes it; and it says nothing about
    classes, and is added to a loss that does. Activations after a ReLU are all alike to some degree, and their mean
    decides much of G.
    Source: Tung and Mori 2019, Similarity-Preserving Knowledge Distillation, Eq 2 to 4; γ = 3000 as there.
    """

    gamma: float = setting(3000.0, type="number", low=0, help="Weight against the task's loss.")
    student: str = setting("", type="text", help=STUDENT)
    teacher: str = setting("", type="text", help=TEACHER)

    def fits(self, mine: Point, theirs: Point) -> str:
        """Any two do."""
        return ""

    def found(self, student: Points, teachers: tuple[Points, ...]) -> tuple[Pairing, ...]:
        """The ends of the last stages."""
        return (ends("sp", student, teachers),)

    def distance(self, mine: Tensor, theirs: Tensor, adapter: None) -> Tensor:
        """Activations B×… → scalar."""
        return self.gamma * (similarities(mine) - similarities(theirs)).square().mean()


def similarities(features: Tensor) -> Tensor:
    """B×… → B×B, rows of length one."""
    rows = features.flatten(1)
    return torch.nn.functional.normalize(rows @ rows.mT)
