"""The loss `fsp`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recipelang.catalogue import method, setting
from recipelang.kinds import Moment, Pairing, Point, Points, Seen, Task, none_fits
from recipelang.lazy import torch
from recipelang.methods.losses._pairs import PairLoss, channels_first, smaller
from recipelang.methods.losses._positions import STUDENT, TEACHER

if TYPE_CHECKING:
    from torch import Tensor, nn


@method("loss", "fsp")
@dataclass(frozen=True)
class Fsp(PairLoss):
    """The flow of the solution procedure: how the end of one stage relates to the end of the next.

    What: compares the way from stage to stage, not what is there, so that the sizes of maps may differ; their classes
    too. Student and teacher need the same numbers of channels at these positions.
    Formula: mean((G_s − G_t)²) for each two consecutive positions, G = F₁·F₂ᵀ/places, C₁×C₂, of the activations F of
    both; the larger of the two maps is averaged down. Consecutive positions: the sum; several teachers: the mean.
    Shapes: activations B×C×H×W, or B×T×D of tokens, of student and teachers → scalar.
    Positions: all stages of the same width and about the same depth, at least two; `plan` shows them.
    When it misleads: its scale is that of activations to the fourth power: compare its size with that of the task's
    loss, and write a weight. A network whose channels were pruned has other widths than its teacher.
    Source: Yim et al. 2017, A Gift from Knowledge Distillation, Eq 1 and 2, with the mean over elements; averaged down
    instead of max-pooled, as a gradient everywhere asks for.
    """

    student: str = setting("", type="text", help=STUDENT)
    teacher: str = setting("", type="text", help=TEACHER)

    def fits(self, mine: Point, theirs: Point) -> str:
        """Positions of the same width."""
        if mine.channels == theirs.channels:
            return ""
        return f"they have {mine.channels} and {theirs.channels} channels"

    def points(self, student: Points, teachers: tuple[Points, ...]) -> tuple[Pairing, ...]:
        """Two positions at least: what is compared is the way from one to the next."""
        found = super().points(student, teachers)
        ways = [(one, two) for one, two in zip(found, found[1:], strict=False)]
        if not ways or not all(joined(*pair) for way in ways for pair in _of_each(*way)):
            raise none_fits("fsp", student, teachers, "two maps of the same widths, one after another")
        return found

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
        mine = flows(student.features)
        distances = [
            (one - two).square().mean()
            for teacher in teachers
            for one, two in zip(mine, flows(teacher.features), strict=True)
        ]
        return torch.stack(distances).sum() / len(teachers)


def _of_each(one: Pairing, two: Pairing) -> list[tuple[Point, Point]]:
    """The two positions of every network."""
    return list(zip((one.student, *one.teachers), (two.student, *two.teachers), strict=True))


def joined(one: Point, two: Point) -> bool:
    """Whether two positions of a network have places in common: both are maps, or they have the same tokens."""
    return len(one.positions) == len(two.positions) == 2 or one.positions == two.positions != ()


def flows(features: tuple[Tensor, ...]) -> list[Tensor]:
    """Activations in their order → B×C₁×C₂ for each two that follow one another."""
    return [flow(one, two) for one, two in zip(features, features[1:], strict=False)]


def flow(one: Tensor, two: Tensor) -> Tensor:
    """Activations of two positions → B×C₁×C₂, the mean over places of their products."""
    if one.ndim == two.ndim == 4:
        one, two = smaller(one, two)
    first, second = channels_first(one), channels_first(two)
    return first @ second.mT / first.shape[2]
