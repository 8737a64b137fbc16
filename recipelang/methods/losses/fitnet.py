"""The loss `fitnet`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from recipelang.catalogue import method, setting
from recipelang.kinds import Pairing, Point, Points, middle
from recipelang.lazy import torch
from recipelang.methods.losses._pairs import PairLoss, alike, why_other_places
from recipelang.methods.losses._positions import STUDENT, TEACHER, as_maps, resized

if TYPE_CHECKING:
    from torch import Tensor, nn


@method("loss", "fitnet")
@dataclass(frozen=True)
class FitNet(PairLoss):
    """Hint regression: an activation of the network, seen through an adapter, becomes that of the teacher.

    What: a stronger hint than outputs for a network that is thinner than its teacher; their classes may differ.
    Formula: ½ · mean((t − r(s))²) over all elements, with the activations s and t of student and teacher, and the
    adapter r: a convolution of 1×1, for tokens a linear layer, with bias, then as many places as t has (the average
    where an axis shrinks, linear interpolation where it grows). Several positions: the sum; several teachers: the mean
    over them, each with adapters of its own. Adapters are trained along by the same optimizer and discarded.
    Shapes: activations B×C×H×W, or B×T×D of tokens, of student and teachers → scalar.
    Positions: the stages that are nearest to the middle of their networks; `plan` shows them. Tokens are compared with
    maps as a square of places, without their class token.
    When it misleads: its scale is that of the teacher's activations; compare its size with that of the task's loss, and
    write a weight: `10 * fitnet`. The authors train on the hint alone first: `fitnet + 0 * task`, then with `kd`.
    Source: Romero et al. 2015, FitNets: Hints for Thin Deep Nets, Eq 3, with the mean in place of the sum.
    """

    student: str = setting("", type="text", help=STUDENT)
    teacher: str = setting("", type="text", help=TEACHER)

    def fits(self, mine: Point, theirs: Point) -> str:
        """Activations between which an adapter can lead."""
        return why_other_places(mine, theirs)

    def found(self, student: Points, teachers: tuple[Points, ...]) -> tuple[Pairing, ...]:
        """The stages nearest to the middle."""
        return (middle("fitnet", student, teachers, self.fits),)

    def adapter(self, mine: Point, theirs: Point) -> nn.Module:
        """From the channels of the network to those of the teacher."""
        if alike(mine, theirs):
            return torch.nn.Linear(mine.channels, theirs.channels)
        return torch.nn.Conv2d(mine.channels, theirs.channels, 1)

    def distance(self, mine: Tensor, theirs: Tensor, adapter: nn.Module) -> Tensor:
        """Activations B×C×H×W or B×T×D → scalar."""
        if isinstance(adapter, torch.nn.Linear):
            adapted = adapter(mine)
        else:
            adapted, theirs = adapter(as_maps(mine)), as_maps(theirs)
            if adapted.shape != theirs.shape:
                adapted = resized(adapted, (theirs.shape[2], theirs.shape[3]))
        return (theirs - adapted).square().mean() / 2
