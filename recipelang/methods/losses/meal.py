"""The loss `meal`."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from recipelang.catalogue import method, setting
from recipelang.kinds import SEVERAL, Loss, Moment, Pairing, Point, Points, Seen, Task, paired
from recipelang.lazy import torch
from recipelang.methods.losses._pairs import channels_first
from recipelang.methods.losses._positions import STUDENT, TEACHER, names, require_pairs

if TYPE_CHECKING:
    from torch import Tensor, nn


@method("loss", "meal")
@dataclass(frozen=True)
class Meal(Loss):
    """Multi-model ensemble via adversarial learning: one network takes the place of an ensemble of teachers.

    What: in every step one teacher is drawn, and alone computes; the network becomes like it, and discriminators that
    tell the activations of both apart learn against it. Labels are not used; add `task` for that.
    Formula: α · (D(t, s) + Σ mean((t_l − A(s_l))²)) + β · Σ BCE(discriminator of t_l and of A(s_l)) over positions l,
    and the probabilities of outputs among them in the second sum; t_l and s_l activations averaged over their places, A
    a linear layer, D the divergence of the task, BCE the cross-entropy of telling teacher (1) from network (0), the
    mean over both. Its gradient reaches the network reversed, so that one optimizer trains both sides. Each teacher has
    adapters and discriminators of its own (three linear layers, each half as wide, with ReLU), trained along and
    discarded.
    Shapes: outputs B×C and activations B×C×H×W, or B×T×D of tokens, of student and teachers → scalar.
    Positions: stages of about the same depth, of any size; `plan` shows them.
    When it misleads: the adversarial part says nothing where discriminators are cannot tell (log 2 = 0.69 each),
    and what a network learns from it is little beside the similarity. It is random which teacher comes when: few steps
    see few of them.
    Source: Shen, He and Xue 2019, MEAL: Multi-Model Ensemble via Adversarial Learning, its losses of similarity and
    of the discriminator, with averages as adaptive pooling, squares as similarity of activations, and the gradient
    reversed (Ganin and Lempitsky 2015).
    """

    teachers: ClassVar[tuple[int, int]] = (1, SEVERAL)
    complete: ClassVar[bool] = True
    tasks: ClassVar[tuple[str, ...]] = ("classification",)
    compares: ClassVar[tuple[str, ...]] = ("outputs", "features")

    name: ClassVar[str]

    alpha: float = setting(1.0, type="number", low=0, help="Weight of the similarity to the teacher.")
    beta: float = setting(1.0, type="number", low=0, help="Weight of the discriminators.")
    student: str = setting("", type="text", help=STUDENT)
    teacher: str = setting("", type="text", help=TEACHER)

    def __post_init__(self) -> None:
        require_pairs(self.student, self.teacher, "meal")

    def consults(self, moment: Moment, count: int) -> tuple[int, ...]:
        """The teacher that is drawn in this step."""
        return (random.Random(f"{moment.seed} {moment.step}").randrange(count),)

    def points(self, student: Points, teachers: tuple[Points, ...]) -> tuple[Pairing, ...]:
        """Any two can be compared: their places are averaged."""
        return paired(self.name, student, teachers, _any, names(self.student), names(self.teacher))

    def parts_for(self, pairings: tuple[Pairing, ...], network: Any) -> nn.Module | None:
        """For each teacher an adapter and a discriminator for each position, and a discriminator of outputs."""
        if not pairings:
            return None
        made = [_beside(pairings, number, len(network.classes)) for number in range(len(pairings[0].teachers))]
        return torch.nn.ModuleList(made)

    def __call__(
        self,
        student: Seen,
        teachers: tuple[Seen, ...],
        targets: Any,
        task: Task,
        parts: nn.Module | None,
        moment: Moment,
    ) -> Tensor:
        """Outputs and features of the network and of the teacher that is drawn → scalar."""
        beside: Any = parts
        (drawn,) = self.consults(moment, len(teachers) if beside is None else len(beside))
        teacher = teachers[0] if len(teachers) == 1 else teachers[drawn]
        alike = task.divergence(student.outputs, teacher.outputs)
        if beside is None:
            return self.alpha * alike
        own = beside[drawn]
        told = apart(own["outputs"], student.outputs.softmax(1), teacher.outputs.softmax(1))
        for place, (mine, theirs) in enumerate(zip(student.features, teacher.features, strict=True)):
            adapted, wanted = own["adapters"][place](pooled(mine)), pooled(theirs)
            alike = alike + (wanted - adapted).square().mean()
            told = told + apart(own["discriminators"][place], adapted, wanted)
        return self.alpha * alike + self.beta * told


def _any(mine: Point, theirs: Point) -> str:
    return ""


def pooled(features: Tensor) -> Tensor:
    """B×C×H×W, B×T×C or B×C → B×C, the mean over places."""
    return channels_first(features).mean(2)


def apart(discriminator: Any, mine: Tensor, theirs: Tensor) -> Tensor:
    """How badly a discriminator tells both apart, B×C each; its gradient to `mine` is reversed."""
    scores = torch.cat([discriminator(theirs), discriminator(2 * mine.detach() - mine)])
    truth = torch.cat([torch.ones_like(theirs[:, :1]), torch.zeros_like(mine[:, :1])])
    return torch.nn.functional.binary_cross_entropy_with_logits(scores, truth)


def _beside(pairings: tuple[Pairing, ...], number: int, classes: int) -> nn.Module:
    pairs = [(pairing.student.channels, pairing.teachers[number].channels) for pairing in pairings]
    return torch.nn.ModuleDict(
        {
            "adapters": torch.nn.ModuleList([torch.nn.Linear(*pair) for pair in pairs]),
            "discriminators": torch.nn.ModuleList([_discriminator(width) for _, width in pairs]),
            "outputs": _discriminator(classes),
        }
    )


def _discriminator(width: int) -> nn.Module:
    half, quarter = max(2, width // 2), max(2, width // 4)
    layers = torch.nn.Linear(width, half), torch.nn.Linear(half, quarter), torch.nn.Linear(quarter, 1)
    return torch.nn.Sequential(layers[0], torch.nn.ReLU(), layers[1], torch.nn.ReLU(), layers[2])
