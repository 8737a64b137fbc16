"""The loss `irg`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from recipelang.catalogue import method, setting
from recipelang.errors import SettingError
from recipelang.kinds import Moment, Pairing, Point, Seen, Task
from recipelang.lazy import torch
from recipelang.methods.losses._pairs import PairLoss, channels_first, smaller
from recipelang.methods.losses._positions import STUDENT, TEACHER, as_maps, grid, resized

if TYPE_CHECKING:
    from torch import Tensor, nn

LEAST = 1e-12  # what distances are divided by at least


@method("loss", "irg")
@dataclass(frozen=True)
class Irg(PairLoss):
    """Instance relationship graph: what images are, how they differ, and how a stage changes them, as in the teacher.

    What: three things of a batch are compared: outputs (vertices of the graph), distances between images at each
    position (its edges), and how far an image moves from one position to the next (its transformation). Widths and
    sizes may differ, classes may not.
    Formula: ν · mean((o_s − o_t)²) + ε · mean((E_s − E_t)²) + τ · mean((Λ_s − Λ_t)²). o are outputs; E_ij = ‖x_i −
    x_j‖² over its largest value in the batch, for the activations x of two images, averaged over positions; Λ_i = ‖x_i
    − x'_i‖² over its largest, for the activations of an image at two consecutive positions, averaged over these. For Λ
    both are brought to the smaller map and the smaller number of channels, by averages. Several teachers: the mean over
    them.
    Shapes: outputs B×C and activations B×C×H×W, or B×T×D of tokens, of student and teachers → scalar.
    Positions: stages of about the same depth; `plan` shows them. Where only one is found there is no transformation.
    When it misleads: it is a matter of the batch, so that `batch=` of the data changes it; one image that is far from
    all others decides the scale of E and Λ. It is added to the task's loss.
    Source: Liu et al. 2019, Knowledge Distillation via Instance Relationship Graph, section 3; squared distances over
    their largest value, channels averaged in groups, and weights 0.1, 5 and 5 as in AberHu's Knowledge-Distillation-Zoo
    (the authors' own code is in Caffe).
    """

    compares: ClassVar[tuple[str, ...]] = ("outputs", "features")

    vertices: float = setting(0.1, type="number", low=0, help="ν, weight of the outputs.")
    edges: float = setting(5.0, type="number", low=0, help="ε, weight of the distances between images.")
    transformations: float = setting(5.0, type="number", low=0, help="τ, weight of the ways between positions.")
    student: str = setting("", type="text", help=STUDENT)
    teacher: str = setting("", type="text", help=TEACHER)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.vertices == self.edges == self.transformations == 0:
            raise SettingError("edges", "all weights are 0", "give one of them a weight: `irg(edges=5)`")

    def fits(self, mine: Point, theirs: Point) -> str:
        """Any two do."""
        return ""

    def parts(self, pairings: tuple[Pairing, ...]) -> None:
        """Nothing is trained along."""
        return None

    def __call__(
        self,
        student: Seen,
        teachers: tuple[Seen, ...],
        targets: Any,
        task: Task,
        parts: nn.Module | None,
        moment: Moment,
    ) -> Tensor:
        """Outputs and features of student and teachers → scalar."""
        return torch.stack([self._apart(student, teacher) for teacher in teachers]).mean()

    def _apart(self, student: Seen, teacher: Seen) -> Tensor:
        mine, theirs = student.features, teacher.features
        total = self.vertices * mean_square([student.outputs], [teacher.outputs])
        if mine and self.edges:
            total = total + self.edges * mean_square([edges(x) for x in mine], [edges(x) for x in theirs])
        if len(mine) > 1 and self.transformations:
            total = total + self.transformations * mean_square(ways(mine), ways(theirs))
        return total


def mean_square(one: Sequence[Tensor], two: Sequence[Tensor]) -> Tensor:
    """The mean square of the difference, averaged over pairs of tensors."""
    return torch.stack([(a - b).square().mean() for a, b in zip(one, two, strict=True)]).mean()


def edges(features: Tensor) -> Tensor:
    """B×… → B×B, squared distances over the largest."""
    rows = features.flatten(1)
    squares = rows.square().sum(1)
    distances = (squares[:, None] + squares - 2 * rows @ rows.mT).clamp(min=0)
    distances = distances * (1 - torch.eye(len(rows), device=rows.device, dtype=rows.dtype))  # exactly 0 to itself
    return distances / distances.max().clamp(min=LEAST)


def ways(features: Sequence[Tensor]) -> list[Tensor]:
    """Activations in their order → B for each two that follow one another: squared distances over the largest."""
    return [_way(one, two) for one, two in zip(features, features[1:], strict=False)]


def _way(one: Tensor, two: Tensor) -> Tensor:
    first, second = _same_places(one, two)
    width = min(first.shape[1], second.shape[1])
    first, second = (resized(x, (width, x.shape[2])) for x in (first, second))
    moved = (first - second).square().sum((1, 2))
    return moved / moved.max().clamp(min=LEAST)


def _same_places(one: Tensor, two: Tensor) -> tuple[Tensor, Tensor]:
    """Two activations of a network as B×C×places; where places have nothing in common, their mean."""
    if one.ndim == two.ndim == 3 and one.shape[1] == two.shape[1]:
        return channels_first(one), channels_first(two)
    if _is_map(one) and _is_map(two):
        one, two = smaller(as_maps(one), as_maps(two))
        return channels_first(one), channels_first(two)
    return channels_first(one).mean(2, keepdim=True), channels_first(two).mean(2, keepdim=True)


def _is_map(features: Tensor) -> bool:
    """Whether an activation is a map, or tokens that are the places of one."""
    if features.ndim == 3:
        return grid(Point("", tuple(features.shape[1:]), 0, True, True)) is not None
    return features.ndim == 4
