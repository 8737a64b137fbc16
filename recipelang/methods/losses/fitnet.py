"""The loss `fitnet`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from recipelang.catalogue import method, setting
from recipelang.kinds import SEVERAL, Loss, Moment, Pairing, Point, Points, Seen, Task, middle, paired
from recipelang.lazy import torch
from recipelang.methods.losses._positions import STUDENT, TEACHER, as_maps, grid, names, require_pairs, resized

if TYPE_CHECKING:
    from torch import Tensor, nn


@method("loss", "fitnet")
@dataclass(frozen=True)
class FitNet(Loss):
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

    teachers: ClassVar[tuple[int, int]] = (1, SEVERAL)
    complete: ClassVar[bool] = False

    student: str = setting("", type="text", help=STUDENT)
    teacher: str = setting("", type="text", help=TEACHER)

    def __post_init__(self) -> None:
        require_pairs(self.student, self.teacher, "fitnet")

    def points(self, student: Points, teachers: tuple[Points, ...]) -> tuple[Pairing, ...]:
        """The stages nearest to the middle, or the positions that are named."""
        if self.student:
            return paired("fitnet", student, teachers, _adaptable, names(self.student), names(self.teacher))
        return (middle("fitnet", student, teachers, _adaptable),)

    def parts(self, pairings: tuple[Pairing, ...]) -> nn.Module:
        """An adapter for each pair of positions, the first teacher's first."""
        count = len(pairings[0].teachers)
        pairs = [(pairing.student, pairing.teachers[n]) for n in range(count) for pairing in pairings]
        return torch.nn.ModuleList(_adapter(mine, theirs) for mine, theirs in pairs)

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
        pairs = [
            (mine, theirs)
            for teacher in teachers
            for mine, theirs in zip(student.features, teacher.features, strict=True)
        ]
        adapters: Any = parts
        distances = [_distance(adapter, *pair) for adapter, pair in zip(adapters, pairs, strict=True)]
        return torch.stack(distances).sum() / (2 * len(teachers))


def _adapter(mine: Point, theirs: Point) -> nn.Module:
    if _alike(mine, theirs):
        return torch.nn.Linear(mine.channels, theirs.channels)
    return torch.nn.Conv2d(mine.channels, theirs.channels, 1)


def _distance(adapter: nn.Module, mine: Tensor, theirs: Tensor) -> Tensor:
    if isinstance(adapter, torch.nn.Linear):
        adapted = adapter(mine)
    else:
        adapted, theirs = adapter(as_maps(mine)), as_maps(theirs)
        if adapted.shape != theirs.shape:
            adapted = resized(adapted, (theirs.shape[2], theirs.shape[3]))
    return (theirs - adapted).square().mean()


def _alike(one: Point, two: Point) -> bool:
    """Whether both have the same tokens, or none."""
    return one.positions == two.positions and len(one.positions) < 2


def _adaptable(one: Point, two: Point) -> str:
    """Why an adapter cannot lead from one activation to the other; "" where it can."""
    if _alike(one, two) or (grid(one) and grid(two)):
        return ""
    return f"activations of {'×'.join(map(str, one.shape))} and {'×'.join(map(str, two.shape))} have different places"
