"""The loss `kp`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recipelang.catalogue import method, setting
from recipelang.kinds import Pairing, Point, Points, middle
from recipelang.lazy import torch
from recipelang.methods.losses._pairs import PairLoss, pooled, scaled
from recipelang.methods.losses._positions import STUDENT, TEACHER

if TYPE_CHECKING:
    from torch import Tensor, nn


@method("loss", "kp")
@dataclass(frozen=True)
class Kp(PairLoss):
    """Knowledge projection: what a middle layer knows, projected into one space from both networks, is the same.

    What: compares two vectors for an image, projected by a matrix on either side, so that widths, sizes and classes may
    differ, and maps may be compared with tokens.
    Formula: mean|P·t − Q·s| + λ · mean((t − Pᵀ·P·t)²) for each pair of positions, s and t the activations averaged over
    places and divided by their root mean square over the batch, P and Q matrices with `width` rows, P orthogonal at
    the start. The second term, the loss of the projection, trains P alone: what P keeps is what the teacher's
    activations can be restored from. The first one trains Q and the network, and not P, which would shrink to nothing.
    Several positions: the sum; several teachers: the mean over them, each with matrices of its own. They are trained
    along by the same optimizer and discarded.
    Shapes: activations B×… of student and teachers → scalar.
    Positions: the stages that are nearest to the middle of their networks; `plan` shows them.
    When it misleads: places are averaged away, and with them where something is. It says nothing about classes, and is
    added to a loss that does.
    Source: Zhang, Ning and He 2017, Knowledge Projection for Deep Neural Networks, as the taxonomy of Wang and Yoon
    2021 (Knowledge Distillation and Student-Teacher Learning for Visual Intelligence, table 2) has it: a projection
    matrix on both sides, middle layers, L1 and a loss of the projection, without spatial dimensions. The authors choose
    layers during the training; here they stay.
    """

    width: int | None = setting(
        None, type="integer", low=1, help="Rows of the matrices; default: the channels of the narrower position."
    )
    keep: float = setting(1.0, type="number", low=0, open_low=True, help="λ, weight of the loss of the projection.")
    student: str = setting("", type="text", help=STUDENT)
    teacher: str = setting("", type="text", help=TEACHER)

    def fits(self, mine: Point, theirs: Point) -> str:
        """Any two do."""
        return ""

    def found(self, student: Points, teachers: tuple[Points, ...]) -> tuple[Pairing, ...]:
        """The stages nearest to the middle."""
        return (middle("kp", student, teachers, self.fits),)

    def adapter(self, mine: Point, theirs: Point) -> nn.Module:
        """P and Q."""
        width = self.width or min(mine.channels, theirs.channels)
        matrix = torch.nn.Linear
        projection, own = matrix(theirs.channels, width, bias=False), matrix(mine.channels, width, bias=False)
        torch.nn.init.orthogonal_(projection.weight)
        return torch.nn.ModuleDict({"teacher": projection, "student": own})

    def distance(self, mine: Tensor, theirs: Tensor, adapter: Any) -> Tensor:
        """Activations B×… → scalar."""
        mine, theirs = scaled(pooled(mine)), scaled(pooled(theirs))
        projected = adapter["teacher"](theirs)
        restored = projected @ adapter["teacher"].weight
        apart = (projected.detach() - adapter["student"](mine)).abs().mean()
        return apart + self.keep * (theirs - restored).square().mean()
