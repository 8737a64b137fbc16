"""What losses of features share that compare a position of the network with one of each teacher."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from recipelang.kinds import SEVERAL, Loss, Moment, Pairing, Point, Points, Seen, Task, none_fits, paired, trained
from recipelang.lazy import torch
from recipelang.methods.losses._positions import grid, names, require_pairs, resized

if TYPE_CHECKING:
    from torch import Tensor, nn


class PairLoss(Loss):
    """Sum of `distance` over positions, mean over teachers.

    A loss fills in `fits` and `distance`, and `adapter` where it trains something along.

    Attributes:
        student, teacher: names of positions, "" where they are found.
    """

    teachers: ClassVar[tuple[int, int]] = (1, SEVERAL)
    complete: ClassVar[bool] = False

    name: ClassVar[str]
    student: str
    teacher: str

    def __post_init__(self) -> None:
        require_pairs(self.student, self.teacher, self.name)

    def fits(self, mine: Point, theirs: Point) -> str:
        """Why two positions cannot be compared; "" where they can."""
        raise NotImplementedError

    def distance(self, mine: Tensor, theirs: Tensor, adapter: Any) -> Tensor:
        """Activations of the network and of a teacher, B×C×H×W or B×T×D each → scalar.

        Args:
            adapter: what `adapter` made for these positions; None where it makes nothing.
        """
        raise NotImplementedError

    def adapter(self, mine: Point, theirs: Point) -> nn.Module | None:
        """What is trained along for a pair of positions."""
        return None

    def found(self, student: Points, teachers: tuple[Points, ...]) -> tuple[Pairing, ...]:
        """The positions where none are named."""
        return paired(self.name, student, teachers, self.fits)

    def points(self, student: Points, teachers: tuple[Points, ...]) -> tuple[Pairing, ...]:
        """The positions that are named, or those that are found."""
        if not self.student:
            return self.found(student, teachers)
        return paired(self.name, student, teachers, self.fits, names(self.student), names(self.teacher))

    def parts(self, pairings: tuple[Pairing, ...]) -> nn.Module | None:
        """An adapter for each pair of positions, the first teacher's first."""
        count = len(pairings[0].teachers)
        pairs = [(pairing.student, pairing.teachers[n]) for n in range(count) for pairing in pairings]
        made = [adapter for pair in pairs if (adapter := self.adapter(*pair)) is not None]
        return torch.nn.ModuleList(made) if made else None

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
        adapters: Any = parts if parts is not None else (None,) * len(pairs)
        distances = [self.distance(*pair, adapter) for pair, adapter in zip(pairs, adapters, strict=True)]
        return torch.stack(distances).sum() / len(teachers)


def channels_first(features: Tensor) -> Tensor:
    """B×C×H×W → B×C×places; B×T×D → B×D×T; B×C → B×C×1."""
    if features.ndim == 2:
        return features[:, :, None]
    return features.transpose(1, 2) if features.ndim == 3 else features.flatten(2)


def ends(
    loss: str, student: Points, teachers: tuple[Points, ...], fits: Callable[[Point, Point], str] = lambda a, b: ""
) -> Pairing:
    """The ends of the last stages of all networks.

    Raises:
        Refusal: RCP0821: a network has no stages, or they cannot be compared.
    """
    stages = [trained(student), *(points.stages() for points in teachers)]
    if not all(stages):
        raise none_fits(loss, student, teachers)
    mine, *theirs = (of[-1] for of in stages)
    if any(fits(mine, other) for other in theirs):
        raise none_fits(loss, student, teachers)
    return Pairing(mine, tuple(theirs))


def pooled(features: Tensor) -> Tensor:
    """B×C×H×W, B×T×D or B×C → B×C, the mean over places."""
    return channels_first(features).mean(2)


def scaled(features: Tensor) -> Tensor:
    """Activations over their root mean square, a number for the batch that is not differentiated."""
    return features / features.detach().square().mean().sqrt().clamp(min=1e-12)


def alike(one: Point, two: Point) -> bool:
    """Whether both have the same tokens, or none: compared as they are, not as maps."""
    return one.positions == two.positions and len(one.positions) < 2


def why_other_places(one: Point, two: Point) -> str:
    """Why two activations cannot be brought to the same places; "" where they can."""
    if alike(one, two) or (grid(one) and grid(two)):
        return ""
    return f"activations of {'×'.join(map(str, one.shape))} and {'×'.join(map(str, two.shape))} have different places"


def smaller(one: Tensor, two: Tensor) -> tuple[Tensor, Tensor]:
    """Two maps …×H×W, both as large as the smaller one."""
    if one.shape[-2:] == two.shape[-2:]:
        return one, two
    height, width = (min(lengths) for lengths in zip(one.shape[-2:], two.shape[-2:], strict=True))
    return resized(one, (height, width)), resized(two, (height, width))
