"""The loss `rkd`."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from recipelang.catalogue import method, setting
from recipelang.kinds import Moment, Pairing, Point, Seen, Task
from recipelang.lazy import torch
from recipelang.methods.losses._pairs import PairLoss, alike, why_other_places
from recipelang.methods.losses._positions import STUDENT, TEACHER, as_maps, resized

if TYPE_CHECKING:
    from torch import Tensor, nn


@method("loss", "rkd")
@dataclass(frozen=True)
class Rkd(PairLoss):
    """Residual knowledge distillation: the network mimics the teacher, and an assistant learns what it misses.

    What: an assistant, a small network that is trained along, learns the residual between the teacher's activations and
    the network's; together they come nearer to a teacher that the network alone cannot reach. The assistant is
    discarded. What it is for is told in the gradient: the network need not explain what the assistant does. Relational
    knowledge distillation, which is often called RKD too, is `relational`.
    Formula: mean((t − r(s))²) + η · mean((t − r(s) − a)²) for each pair of positions, with the activations s and t of
    student and teacher, and r the identity, or where channels differ a convolution of 1×1 (for tokens a linear layer),
    then as many places as t has. a is what the assistant's block at this position makes of r(s) + a at the one before,
    for the first position of r(s) itself: two convolutions of 3×3 with BatchNorm and ReLU between them (for tokens two
    linear layers with ReLU), `width` of the teacher's channels wide inside. Several positions: the sum; several
    teachers: the mean over them, each with an assistant of its own. Adapters and assistants are trained along by the
    same optimizer and discarded.
    Shapes: activations B×C×H×W, or B×T×D of tokens, of student and teachers → scalar.
    Positions: stages of about the same depth; `plan` shows them. After the training, the note says how much of what the
    network misses its assistant explains.
    When it misleads: its scale is that of the teacher's activations; compare its size with that of the task's loss, and
    write a weight. A strong assistant (large `width` or η) leaves less for the network to learn.
    Source: Gao et al. 2020, Residual Knowledge Distillation: the two losses, of the student on the teacher's feature
    maps and of the assistant on the residual. There the assistant is cut from the same network as the student and kept
    beside it; here the network must stand alone, so that its assistant is a branch of the training.
    """

    eta: float = setting(1.0, type="number", low=0, open_low=True, help="η, weight of the assistant's term.")
    width: float = setting(
        0.5, type="number", low=0, open_low=True, high=4, help="Channels inside the assistant, over the teacher's."
    )
    student: str = setting("", type="text", help=STUDENT)
    teacher: str = setting("", type="text", help=TEACHER)

    def fits(self, mine: Point, theirs: Point) -> str:
        """Activations that can be brought to the same places."""
        return why_other_places(mine, theirs)

    def parts(self, pairings: tuple[Pairing, ...]) -> nn.Module:
        """For each teacher: adapters r, the blocks of the assistant, and what was missed without and with it."""
        made = []
        for number in range(len(pairings[0].teachers)):
            pairs = [(pairing.student, pairing.teachers[number]) for pairing in pairings]
            before = [pairs[0][1], *(theirs for _, theirs in pairs[:-1])]
            follow = [False, *(_chained(one, two) for one, two in pairwise(pairs))]
            one: Any = torch.nn.Module()
            one.leads = torch.nn.ModuleList([_lead(*pair) for pair in pairs])
            one.blocks = torch.nn.ModuleList(
                self._block(last.channels if chained else theirs.channels, theirs.channels, alike(mine, theirs))
                for (mine, theirs), last, chained in zip(pairs, before, follow, strict=True)
            )
            one.chained = follow
            one.register_buffer("missed", torch.zeros(2, dtype=torch.float64))
            made.append(one)
        return torch.nn.ModuleList(made)

    def _block(self, before: int, after: int, tokens: bool) -> nn.Module:
        """A block of the assistant."""
        inside = max(1, round(self.width * after))
        if tokens:
            return torch.nn.Sequential(torch.nn.Linear(before, inside), torch.nn.ReLU(), torch.nn.Linear(inside, after))
        return torch.nn.Sequential(
            torch.nn.Conv2d(before, inside, 3, padding=1, bias=False),
            torch.nn.BatchNorm2d(inside),
            torch.nn.ReLU(),
            torch.nn.Conv2d(inside, after, 3, padding=1),
        )

    def __call__(
        self,
        student: Seen,
        teachers: tuple[Seen, ...],
        targets: Any,
        task: Task,
        parts: Any,
        moment: Moment,
    ) -> Tensor:
        """Features of student and teachers, B×C×H×W or B×T×D each → scalar."""
        values = []
        for teacher, part in zip(teachers, parts, strict=True):
            alone, aided = self._missed(student.features, teacher.features, part)
            values.append(alone + self.eta * aided)
            with torch.no_grad():
                if moment.step % moment.per_epoch == 0:
                    part.missed.zero_()
                part.missed += torch.stack((alone, aided)).double()
        return torch.stack(values).mean()

    def _missed(self, mine: tuple[Tensor, ...], theirs: tuple[Tensor, ...], part: Any) -> tuple[Tensor, Tensor]:
        """What the network misses, alone and with its assistant, summed over positions."""
        alone, aided = [], []
        last = mine[0]
        places = zip(mine, theirs, part.leads, part.blocks, part.chained, strict=True)
        for s, t, lead, block, chained in places:
            own, wanted = _brought(s, t, lead, isinstance(block[0], torch.nn.Linear))
            given = own
            if chained:
                given = last if own.ndim == 3 else resized(last, (own.shape[2], own.shape[3]))
            residual = wanted - own
            added = block(given)
            alone.append(residual.square().mean())
            aided.append((residual - added).square().mean())
            last = own + added
        return torch.stack(alone).sum(), torch.stack(aided).sum()

    def told(self, parts: Any, seconds: float | None) -> str:
        """How much of what the network missed in the last epoch its assistant explained."""
        alone, aided = sum(part.missed for part in parts).tolist()
        if not alone:
            return ""
        share = max(0.0, 1 - aided / alone)
        return f"of what the network misses of its teachers' activations, the assistant of `rkd` explained {share:.0%}"


def _lead(mine: Point, theirs: Point) -> nn.Module:
    """From the channels of the network to those of the teacher."""
    if mine.channels == theirs.channels:
        return torch.nn.Identity()
    if alike(mine, theirs):
        return torch.nn.Linear(mine.channels, theirs.channels)
    return torch.nn.Conv2d(mine.channels, theirs.channels, 1)


def _chained(one: tuple[Point, Point], two: tuple[Point, Point]) -> bool:
    """Whether a block can read what was made at the position before: both are maps, or have the same tokens."""
    tokens = [alike(*pair) for pair in (one, two)]
    if any(tokens):
        return all(tokens) and one[1].positions == two[1].positions
    return True


def _brought(mine: Tensor, theirs: Tensor, lead: nn.Module, tokens: bool) -> tuple[Tensor, Tensor]:
    """r(s) and t, as tokens or as maps."""
    if tokens:
        return lead(mine), theirs
    own, wanted = lead(as_maps(mine)), as_maps(theirs)
    if own.shape[2:] != wanted.shape[2:]:
        own = resized(own, (wanted.shape[2], wanted.shape[3]))
    return own, wanted
