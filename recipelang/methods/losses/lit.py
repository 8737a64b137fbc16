"""The loss `lit`."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

from recipelang.catalogue import method, setting
from recipelang.errors import Refusal
from recipelang.kinds import Moment, Pairing, Point, Points, Seen, Task, none_fits
from recipelang.lazy import torch
from recipelang.methods.losses._pairs import PairLoss
from recipelang.methods.losses._positions import STUDENT, TEACHER

if TYPE_CHECKING:
    from torch import Tensor, nn


@method("loss", "lit")
@dataclass(frozen=True)
class Lit(PairLoss):
    """Intermediate representations: a section of the network, given what the teacher's section is given, answers alike.

    What: for networks that have lost layers and keep the widths of their teacher. Each section learns on the teacher's
    activations, so that it need not make up for the errors of the sections before it.
    Formula: Σ over positions k of mean((S_k(t_{k−1}) − t_k)²), t_k the teacher's activation at position k and S_k what
    the network computes from position k − 1 to k; S_1 begins with the input. All sections run in one more pass of the
    network, in which its activations are replaced by the teacher's, so that a step costs about one student more.
    BatchNorm uses the statistics of these batches, and averages only those of the network's own activations.
    Shapes: activations B×C×H×W, or B×T×D of tokens, of student and teacher → scalar.
    Positions: all stages of the same shape and about the same depth, at least two; `plan` shows them. Everything must
    pass through them: nothing bypasses the end of a section.
    When it misleads: it is blind to what sections do one after another; the authors add distillation of the outputs:
    `0.75 * kd(T=6, alpha=0.95) + 0.25 * lit`, then `kd` alone at a smaller learning rate. A network whose channels were
    pruned has other widths than its teacher.
    Source: Koratana et al. 2019, LIT: Learned Intermediate Representation Training for Model Compression, Eq 1 and 2;
    the mean over elements as in the authors' code, which averages statistics of BatchNorm in both passes.
    """

    teachers: ClassVar[tuple[int, int]] = (1, 1)

    student: str = setting("", type="text", help=STUDENT)
    teacher: str = setting("", type="text", help=TEACHER)

    def fits(self, mine: Point, theirs: Point) -> str:
        """Ends of sections with the same shape."""
        if mine.shape != theirs.shape:
            shapes = ["×".join(map(str, point.shape)) for point in (mine, theirs)]
            return f"their activations are {shapes[0]} and {shapes[1]}"
        bypassed = next((point for point in (mine, theirs) if not point.through), None)
        return f"a shortcut bypasses `{bypassed.path}`, so no section ends there" if bypassed else ""

    def points(self, student: Points, teachers: tuple[Points, ...]) -> tuple[Pairing, ...]:
        """Two positions at least, in the order of both networks."""
        try:
            found = sorted(super().points(student, teachers), key=lambda pairing: pairing.student.depth)
        except Refusal as refusal:
            if refusal.code != "RCP0821":  # what is wrong with positions that are named
                raise
            found = []
        ordered = all(one.teachers[0].depth < two.teachers[0].depth for one, two in pairwise(found))
        if len(found) < 2 or not ordered:
            raise none_fits("lit", student, teachers, "two sections of the same shapes, one after another")
        return tuple(found)

    def __call__(
        self,
        student: Seen,
        teachers: tuple[Seen, ...],
        targets: Any,
        task: Task,
        parts: nn.Module | None,
        moment: Moment,
    ) -> Tensor:
        """Features of student and teacher, B×C×H×W or B×T×D each → scalar."""
        theirs = teachers[0].features
        assert student.again is not None  # the loop gives it to a loss that has positions
        made = (student.features[0], *student.again(theirs)[1:])
        return torch.stack([(one - two).square().mean() for one, two in zip(made, theirs, strict=True)]).sum()
