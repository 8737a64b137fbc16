"""The loss `heo`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from recipelang.catalogue import method, setting
from recipelang.kinds import Moment, Pairing, Point, Points, Seen, Task
from recipelang.lazy import torch
from recipelang.methods.losses._pairs import PairLoss, alike, smaller, why_other_places
from recipelang.methods.losses._positions import STUDENT, TEACHER, as_maps

if TYPE_CHECKING:
    from torch import Tensor, nn


@method("loss", "heo")
@dataclass(frozen=True)
class Heo(PairLoss):
    """A comprehensive overhaul of feature distillation: activations before their ReLU, as far as they matter after it.

    What: takes over what the teacher's neurons say, and of those that are off only that they are.
    Formula: β · Σ over positions l of 2^(l − L) · d_p(max(t, m), r(s))/B, L the last position, with
    d_p(t, s) = Σ (t − s)², without the elements where s ≤ t ≤ 0; t and s before the ReLU; the margin m of a channel the
    mean of all negative activations that the teacher had there so far; and r a convolution of 1×1, for tokens a linear
    layer, with BatchNorm. Several teachers: the mean over them, each with adapters of its own. Adapters are trained
    along by the same optimizer and discarded.
    Shapes: activations B×C×H×W, or B×T×D of tokens, of student and teachers → scalar.
    Positions: stages of about the same depth, before the ReLU that ends them, where one does; `plan` shows them. The
    larger map is averaged down to the smaller.
    When it misleads: it is a sum over places and channels: its size is that of the maps, and β is for those of
    ImageNet's networks. ReLU6, GELU and tokens with residuals are compared as they are.
    Source: Heo et al. 2019, A Comprehensive Overhaul of Feature Distillation, margin ReLU and partial L2 distance;
    β and the weights of positions as in the authors' code, where margins are computed from BatchNorm and the
    teacher's BatchNorm is in training mode; here the margins are measured, and the teacher is in evaluation mode.
    """

    beta: float = setting(1e-3, type="number", low=0, help="Weight against the task's loss.")
    student: str = setting("", type="text", help=STUDENT)
    teacher: str = setting("", type="text", help=TEACHER)

    def fits(self, mine: Point, theirs: Point) -> str:
        """Activations that can be brought to the same places."""
        return why_other_places(mine, theirs)

    def points(self, student: Points, teachers: tuple[Points, ...]) -> tuple[Pairing, ...]:
        """The same positions as other losses, before their ReLU."""

        def before(point: Point) -> Point:
            return replace(point, unrectified=point.rectified)

        found = super().points(student, teachers)
        return tuple(Pairing(before(one.student), tuple(map(before, one.teachers))) for one in found)

    def adapter(self, mine: Point, theirs: Point) -> nn.Module:
        """From the channels of the network to neurons of the teacher; the negative activations that it had."""
        return _adapter(mine.channels, theirs.channels, tokens=alike(mine, theirs))

    def __call__(
        self,
        student: Seen,
        teachers: tuple[Seen, ...],
        targets: Any,
        task: Task,
        parts: nn.Module | None,
        moment: Moment,
    ) -> Tensor:
        """Features of student and teachers, B×C×H×W or B×T×D each → scalar."""
        adapters: Any = parts
        count = len(student.features)
        distances = [
            self.distance(mine, theirs, adapters[number * count + place]) * 2.0 ** (place + 1 - count)
            for number, teacher in enumerate(teachers)
            for place, (mine, theirs) in enumerate(zip(student.features, teacher.features, strict=True))
        ]
        return self.beta * torch.stack(distances).sum() / len(teachers)

    def distance(self, mine: Tensor, theirs: Tensor, adapter: Any) -> Tensor:
        """Activations B×C×H×W or B×T×D → the sum of an image, a scalar."""
        if isinstance(adapter.lead, torch.nn.Linear):
            led = adapter.lead(mine)
            adapted, axis = adapter.norm(led.flatten(0, -2)).view_as(led), -1
        else:
            mine, theirs = smaller(as_maps(mine), as_maps(theirs))
            adapted, axis = adapter.norm(adapter.lead(mine)), 1
        wanted = torch.maximum(theirs, _margin(theirs, axis, adapter).to(theirs.dtype))
        matters = (adapted > wanted) | (wanted > 0)
        return ((wanted - adapted).square() * matters).sum() / len(mine)


def _adapter(mine: int, theirs: int, *, tokens: bool) -> Any:
    made: Any = torch.nn.Module()
    if tokens:
        made.lead, made.norm = torch.nn.Linear(mine, theirs, bias=False), torch.nn.BatchNorm1d(theirs)
    else:
        made.lead, made.norm = torch.nn.Conv2d(mine, theirs, 1, bias=False), torch.nn.BatchNorm2d(theirs)
    torch.nn.init.normal_(made.lead.weight, std=(2 / theirs) ** 0.5)
    made.register_buffer("negative", torch.zeros(theirs, dtype=torch.float64))
    made.register_buffer("count", torch.zeros(theirs, dtype=torch.int64))
    return made


def _margin(theirs: Tensor, axis: int, adapter: Any) -> Tensor:
    """The mean of the negative activations of each channel, these included; 0 where there were none."""
    axis %= theirs.ndim
    others = [n for n in range(theirs.ndim) if n != axis]
    with torch.no_grad():
        adapter.negative += theirs.clamp_max(0).sum(others).double()
        adapter.count += (theirs < 0).sum(others)
        mean = adapter.negative / adapter.count.clamp_min(1)
    return mean.view([-1 if n == axis else 1 for n in range(theirs.ndim)])
