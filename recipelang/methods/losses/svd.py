"""The loss `svd`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recipelang.catalogue import method, setting
from recipelang.kinds import Moment, Pairing, Point, Points, Seen, Task, none_fits
from recipelang.lazy import torch
from recipelang.methods.losses._pairs import PairLoss, channels_first
from recipelang.methods.losses._positions import STUDENT, TEACHER

if TYPE_CHECKING:
    from torch import Tensor, nn

#: as many more vectors of the network are found as may be needed for those that are most alike the teacher's
MORE = 3


@method("loss", "svd")
@dataclass(frozen=True)
class Svd(PairLoss):
    """Singular vectors of feature maps: how the main direction of one stage relates to that of the next.

    What: compresses every map to the directions of its channels in which it is strongest, and compares how those of one
    stage lie to those of the stage before it, in the network and in the teacher. Sizes of maps may differ, and classes.
    Formula: β · Σ (R_s − R_t)²/B for each two consecutive positions, with R = exp(−(v_i − w_j)²/8) for all
    channels i and j, v and w the right singular vectors (the first `vectors`) of both maps as places × channels,
    multiplied by the teacher's singular values, these of length one. The network's vectors are those most alike the
    teacher's, in its order and with its signs. Several teachers: the mean over them.
    Shapes: activations B×C×H×W, or B×T×D of tokens, of student and teachers → scalar.
    Positions: all stages of about the same depth, at least two; `plan` shows them. Where a width differs from the
    teacher's, a convolution of 1×1, for tokens a linear layer, without bias, leads there, trained along and discarded.
    When it misleads: R has C₁ × C₂ numbers for each image, most of them near 1: compare its size with that of the
    task's loss, and write a weight. Two singular values that are nearly equal have no directions of their own; their
    gradient is damped. Which of two opposite vectors a teacher has is a matter of convention: that with a positive sum.
    Source: Lee, Kim and Song 2018, Self-supervised Knowledge Distillation Using Singular Value Decomposition: aligned
    singular vectors, their radial basis functions and the distance of those, as in the authors' code, without its
    clipping of gradients.
    """

    beta: float = setting(1.0, type="number", low=0, help="Weight against the task's loss.")
    vectors: int = setting(1, type="integer", low=1, high=16, help="How many singular vectors of each map.")
    student: str = setting("", type="text", help=STUDENT)
    teacher: str = setting("", type="text", help=TEACHER)

    def fits(self, mine: Point, theirs: Point) -> str:
        """Maps, tokens: anything with several places."""
        alone = next((point for point in (mine, theirs) if not point.positions), None)
        return f"`{alone.path}` is a vector, and has one direction alone" if alone else ""

    def points(self, student: Points, teachers: tuple[Points, ...]) -> tuple[Pairing, ...]:
        """Two positions at least: what is compared is how one lies to the next."""
        found = super().points(student, teachers)
        if len(found) < 2:
            raise none_fits(self.name, student, teachers, "two positions, one after another")
        return found

    def adapter(self, mine: Point, theirs: Point) -> nn.Module | None:
        """To the width of the teacher, where it has another one."""
        if mine.channels == theirs.channels:
            return torch.nn.Identity()
        return torch.nn.Linear(mine.channels, theirs.channels, bias=False)

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
        adapters: Any = parts if parts is not None else [None] * (len(student.features) * len(teachers))
        count = len(student.features)
        distances = []
        for number, teacher in enumerate(teachers):
            led = adapters[number * count : (number + 1) * count]
            found = [self._vectors(*each) for each in zip(student.features, teacher.features, led, strict=True)]
            distances += [
                (relations(mine, before) - relations(theirs, hint)).square().sum() / len(mine)
                for (before, hint), (mine, theirs) in zip(found, found[1:], strict=False)
            ]
        return self.beta * torch.stack(distances).sum() / len(teachers)

    def _vectors(self, mine: Tensor, theirs: Tensor, adapter: Any) -> tuple[Tensor, Tensor]:
        """Those of the network and of the teacher, B×C×k each."""
        from recipelang.surgery.spectral import directions

        rows = channels_first(mine).mT
        rows = rows if adapter is None else adapter(rows)
        hints, values = directions(channels_first(theirs).mT, self.vectors)
        hints = torch.where(hints.sum(1, keepdim=True) < 0, -hints, hints)
        values = torch.nn.functional.normalize(values, dim=1)[:, None]
        own, _ = directions(rows, self.vectors + MORE)
        return aligned(own, hints) * values, hints * values


def aligned(mine: Tensor, theirs: Tensor) -> Tensor:
    """For each vector of the teacher, B×C×k, the most parallel one of the network, of B×C×more, in its sign."""
    cosines = mine.mT @ theirs
    best = cosines.abs().argmax(1, keepdim=True)  # B×1×k
    signs = cosines.gather(1, best).detach().sign()
    return mine.gather(2, best.expand(-1, mine.shape[1], -1)) * signs


def relations(mine: Tensor, before: Tensor) -> Tensor:
    """Vectors of two positions, B×C₁×k and B×C₂×k → B×C₁×C₂×k, near 1 where two channels weigh the same."""
    return (-(mine[:, :, None] - before[:, None]).square() / 8).exp()
