"""The loss `relational`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from recipelang.catalogue import method, setting
from recipelang.errors import SettingError
from recipelang.kinds import Pairing, Point, Points
from recipelang.lazy import torch
from recipelang.methods.losses._pairs import PairLoss, ends, pooled
from recipelang.methods.losses._positions import STUDENT, TEACHER

if TYPE_CHECKING:
    from torch import Tensor


@method("loss", "relational")
@dataclass(frozen=True)
class Relational(PairLoss):
    """Relational knowledge distillation: images are as far from one another, and at the same angles, as to the teacher.

    What: compares the geometry of a batch, not what an activation is, so that widths, sizes and classes may differ. It
    is often called RKD; `rkd` here is residual knowledge distillation.
    Formula: δ · H(d_s, d_t) + α · H(a_s, a_t) for each pair of positions. x_i is the activation of image i averaged
    over places, d_ij = ‖x_i − x_j‖/μ with μ the mean over pairs that differ, a_ijk the cosine of the angle at x_j
    between x_i and x_k, and H the mean over pairs or triples of the Huber loss, ½·z² up to 1 and |z| − ½ beyond.
    Several positions: the sum; several teachers: the mean over them.
    Shapes: activations B×… of student and teachers → scalar.
    Positions: the ends of the last stages; `plan` shows them.
    When it misleads: it is a matter of the batch, so that `batch=` of the data changes it: angles take B³ numbers. It
    says nothing about classes, and is added to a loss that does.
    Source: Park et al. 2019, Relational Knowledge Distillation, Eq 5 to 9; δ = 25 and α = 50 as there.
    """

    distances: float = setting(25.0, type="number", low=0, help="δ, weight of the distances.")
    angles: float = setting(50.0, type="number", low=0, help="α, weight of the angles.")
    student: str = setting("", type="text", help=STUDENT)
    teacher: str = setting("", type="text", help=TEACHER)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.distances == self.angles == 0:
            raise SettingError("angles", "both weights are 0", "give one of them a weight: `relational(angles=50)`")

    def fits(self, mine: Point, theirs: Point) -> str:
        """Any two do."""
        return ""

    def found(self, student: Points, teachers: tuple[Points, ...]) -> tuple[Pairing, ...]:
        """The ends of the last stages."""
        return (ends("relational", student, teachers),)

    def distance(self, mine: Tensor, theirs: Tensor, adapter: None) -> Tensor:
        """Activations B×… → scalar."""
        huber = torch.nn.functional.smooth_l1_loss
        mine, theirs = (x[:, None] - x for x in (pooled(mine), pooled(theirs)))
        total = mine.new_zeros(())
        if self.distances:
            total = total + self.distances * huber(_lengths(mine), _lengths(theirs))
        if self.angles:
            total = total + self.angles * huber(_cosines(mine), _cosines(theirs))
        return total


def _lengths(between: Tensor) -> Tensor:
    """Differences B×B×C → distances B×B, over the mean of those that are not 0."""
    squares = between.square().sum(2)
    there = squares > 0
    distances = torch.where(there, squares, 1.0).sqrt() * there  # the root has no gradient at 0
    return distances / (distances.sum() / there.sum().clamp(min=1)).clamp(min=1e-12)


def _cosines(between: Tensor) -> Tensor:
    """Differences B×B×C, the first at j → B×B×B, the cosine at image j between i and k; 0 where one is j."""
    directions = torch.nn.functional.normalize(between, dim=2)
    return directions @ directions.mT
