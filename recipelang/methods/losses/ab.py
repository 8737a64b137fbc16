"""The loss `ab`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from recipelang.catalogue import method, setting
from recipelang.kinds import Point
from recipelang.lazy import torch
from recipelang.methods.losses._pairs import PairLoss, alike, smaller, why_other_places
from recipelang.methods.losses._positions import STUDENT, TEACHER, as_maps

if TYPE_CHECKING:
    from torch import Tensor, nn


@method("loss", "ab")
@dataclass(frozen=True)
class Ab(PairLoss):
    """Activation boundaries: neurons are on and off for the same inputs as the teacher's.

    What: transfers where neurons are active, not how strongly: the boundaries that divide the classes.
    Formula: mean over elements of [t > 0] · max(0, m − r(s))² + [t ≤ 0] · max(0, m + r(s))² for each pair of positions,
    m the margin, and r a convolution of 1×1, for tokens a linear layer, with BatchNorm. Several positions: the sum;
    several teachers: the mean over them, each with adapters of its own. Adapters are trained along by the same
    optimizer and discarded.
    Shapes: activations B×C×H×W, or B×T×D of tokens, of student and teachers → scalar.
    Positions: stages of about the same depth; the larger map is averaged down to the smaller. `plan` shows them. A ReLU
    does not move the boundary; without one, a neuron is on where it is positive.
    When it misleads: activations without an off state (GELU, tokens with residuals) have no boundary. Maps of the
    teacher that are averaged down are on wherever one of their places is. The authors train on it alone first:
    `ab + 0 * task`.
    Source: Heo et al. 2019, Knowledge Transfer via Distillation of Activation Boundaries Formed by Hidden Neurons, Eq 4
    and 6, with the mean in place of the sum; s is taken after its own activation, and not before.
    """

    margin: float = setting(1.0, type="number", low=0, open_low=True, help="How far beyond 0 the network shall be.")
    student: str = setting("", type="text", help=STUDENT)
    teacher: str = setting("", type="text", help=TEACHER)

    def fits(self, mine: Point, theirs: Point) -> str:
        """Activations that can be brought to the same places."""
        return why_other_places(mine, theirs)

    def adapter(self, mine: Point, theirs: Point) -> nn.Module:
        """From the channels of the network to neurons of the teacher, on both sides of 0."""
        if alike(mine, theirs):
            return torch.nn.ModuleList(
                [torch.nn.Linear(mine.channels, theirs.channels), torch.nn.BatchNorm1d(theirs.channels)]
            )
        return torch.nn.ModuleList(
            [torch.nn.Conv2d(mine.channels, theirs.channels, 1, bias=False), torch.nn.BatchNorm2d(theirs.channels)]
        )

    def distance(self, mine: Tensor, theirs: Tensor, adapter: nn.Module) -> Tensor:
        """Activations B×C×H×W or B×T×D → scalar."""
        lead, norm = adapter.children()
        if isinstance(lead, torch.nn.Linear):
            led = lead(mine)
            adapted = norm(led.flatten(0, -2)).view_as(led)
        else:
            mine, theirs = smaller(as_maps(mine), as_maps(theirs))
            adapted = norm(lead(mine))
        on = theirs > 0
        return torch.where(on, self.margin - adapted, self.margin + adapted).relu().square().mean()
