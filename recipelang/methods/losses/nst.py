"""The loss `nst`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from recipelang.catalogue import method, setting
from recipelang.kinds import Point
from recipelang.lazy import torch
from recipelang.methods.losses._pairs import PairLoss, channels_first, smaller, why_other_places
from recipelang.methods.losses._positions import STUDENT, TEACHER, as_maps

if TYPE_CHECKING:
    from torch import Tensor


@method("loss", "nst")
@dataclass(frozen=True)
class Nst(PairLoss):
    """Neuron selectivity: the channels of the network attend to the same places as the teacher's, as a distribution.

    What: matches the set of channels, whichever is which, so that widths may differ; their classes too.
    Formula: β · MMD² for each pair of positions, MMD² = mean k(t, t') + mean k(s, s') − 2 · mean k(s, t) over channels
    of one image, averaged over the batch; a channel is its activations over the places, divided by their length, and
    k(x, y) = (xᵀy)². Several positions: the sum; several teachers: the mean over them.
    Shapes: activations B×C×H×W, or B×T×D of tokens, of student and teachers → scalar.
    Positions: stages of about the same depth; the larger map is averaged down to the smaller. `plan` shows them.
    When it misleads: it says nothing about classes, and is added to a loss that does; it takes C² products of channels.
    Source: Huang and Wang 2017, Like What You Like: Knowledge Distill via Neuron Selectivity Transfer, Eq 4 and 6, with
    the kernel of degree 2; β = 50 as there.
    """

    beta: float = setting(50.0, type="number", low=0, help="Weight against the task's loss.")
    student: str = setting("", type="text", help=STUDENT)
    teacher: str = setting("", type="text", help=TEACHER)

    def fits(self, mine: Point, theirs: Point) -> str:
        """Activations that can be brought to the same places, of which there are several."""
        if not mine.positions or not theirs.positions:
            return "a vector has no places"
        return why_other_places(mine, theirs)

    def distance(self, mine: Tensor, theirs: Tensor, adapter: None) -> Tensor:
        """Activations B×C×H×W or B×T×D → scalar."""
        if mine.ndim != 3 or mine.shape[1] != theirs.shape[1]:
            mine, theirs = smaller(as_maps(mine), as_maps(theirs))
        unit = torch.nn.functional.normalize
        one, two = unit(channels_first(mine), dim=2), unit(channels_first(theirs), dim=2)
        return self.beta * (kernel(two, two) + kernel(one, one) - 2 * kernel(one, two))


def kernel(one: Tensor, two: Tensor) -> Tensor:
    """B×C×places, B×C'×places → the mean of (xᵀy)² over pairs of channels and the batch."""
    return (one @ two.mT).square().mean()
