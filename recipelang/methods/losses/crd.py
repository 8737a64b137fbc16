"""The loss `crd`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from recipelang.catalogue import method, setting
from recipelang.errors import Refusal
from recipelang.kinds import Moment, Pairing, Point, Points, Seen, Task
from recipelang.lazy import torch
from recipelang.methods.losses._contrast import among_all, among_other_classes, contrast, memory, remember
from recipelang.methods.losses._pairs import PairLoss, ends, pooled
from recipelang.methods.losses._positions import STUDENT, TEACHER

if TYPE_CHECKING:
    from torch import Tensor, nn


@method("loss", "crd")
@dataclass(frozen=True)
class Crd(PairLoss):
    """Contrastive representation distillation: what network and teacher say of one image belongs together.

    What: of many images, the teacher's activation should tell which one the network's was made of, and the other way
    round. The others come from a memory bank with an embedding of every training image, so that there may be thousands;
    widths, sizes and classes of the teacher may differ.
    Formula: β · (L(e_s, M_t) + L(e_t, M_s)) for each pair of positions. e are linear embeddings of the activations,
    averaged over places, with length one, M the banks of both networks, and L(e, M) = −mean over images i of log h(e_i,
    m_i) + Σ over k negatives j of log(1 − h(e_i, m_j)), with h(e, m) = g/(g + k/N), g = exp(e·m/τ)/Z, N training
    images; Z is estimated on the first batch and stays. Then m_i ← μ·m_i + (1 − μ)·e_i, length one. Several positions:
    the sum; several teachers: the mean over them, each with embeddings and banks of its own. Embeddings are trained
    along by the same optimizer; the banks are numbers beside them, in the checkpoint, and all is discarded.
    Shapes: activations B×… of student and teachers, labels B → scalar.
    Positions: the ends of the last stages; `plan` shows them.
    When it misleads: a bank takes N·`width` numbers for each network. Images of the same class count as different where
    `among` is `all`; with `others`, the default for classes, negatives are images of other classes, whose class is
    known once they were seen. In the first epoch the bank is random, and the loss says little. With 16384 negatives a
    step takes long on a CPU; fewer do there.
    Source: Tian, Krishnan and Isola 2020, Contrastive Representation Distillation, Eq 11 to 18; settings, random bank
    and Z as in the authors' code, where the noise may hold the image itself.
    """

    remembers: ClassVar[bool] = True

    negatives: int = setting(16384, type="integer", low=1, help="k, images that each image is told from.")
    temperature: float = setting(0.07, type="number", low=0, open_low=True, help="τ: lower looks at near images alone.")
    momentum: float = setting(0.5, type="number", low=0, high=0.999, help="μ, how slowly the bank follows.")
    beta: float = setting(0.8, type="number", low=0, open_low=True, help="Weight against the task's loss.")
    width: int = setting(128, type="integer", low=1, help="Numbers of an embedding.")
    among: str | None = setting(
        None, type="word", choices=("others", "all"), help="Negatives: images of other classes, or all other images."
    )
    student: str = setting("", type="text", help=STUDENT)
    teacher: str = setting("", type="text", help=TEACHER)

    def wants_classes(self, task: Task) -> bool:
        """Where negatives are images of other classes."""
        return (self.among or _usual(task)) == "others"

    def fits(self, mine: Point, theirs: Point) -> str:
        """Any two do."""
        return ""

    def found(self, student: Points, teachers: tuple[Points, ...]) -> tuple[Pairing, ...]:
        """The ends of the last stages."""
        return (ends("crd", student, teachers),)

    def memory(self, pairings: tuple[Pairing, ...], samples: int) -> nn.Module:
        """Embeddings and banks for each pair of positions, the first teacher's first."""
        count = len(pairings[0].teachers)
        pairs = [(pairing.student, pairing.teachers[n]) for n in range(count) for pairing in pairings]
        made = []
        for mine, theirs in pairs:
            one = torch.nn.Module()
            one.student = torch.nn.Linear(mine.channels, self.width)
            one.teacher = torch.nn.Linear(theirs.channels, self.width)
            memory(one, samples, self.width)
            made.append(one)
        return torch.nn.ModuleList(made)

    def __call__(
        self,
        student: Seen,
        teachers: tuple[Seen, ...],
        targets: Any,
        task: Task,
        parts: Any,
        moment: Moment,
    ) -> Tensor:
        """Features of student and teachers, B×… each, targets → scalar."""
        classes = _classes(targets) if self.wants_classes(task) else None
        values, banks = [], iter(parts)
        for teacher in teachers:
            for mine, theirs in zip(student.features, teacher.features, strict=True):
                values.append(self._told_apart(mine, theirs, next(banks), student.samples, classes))
        return self.beta * torch.stack(values).sum() / len(teachers)

    def _told_apart(self, mine: Tensor, theirs: Tensor, bank: Any, samples: Tensor, classes: Tensor | None) -> Tensor:
        unit = torch.nn.functional.normalize
        own, other = unit(bank.student(pooled(mine))), unit(bank.teacher(pooled(theirs)))
        if classes is None:
            negatives = among_all(samples, len(bank.classes), self.negatives)
        else:
            bank.classes[samples] = classes
            negatives = among_other_classes(classes, bank.classes, self.negatives)
        value = contrast(bank, own, other, samples, negatives, self.temperature)
        remember(bank, own, other, samples, self.momentum)
        return value


def _usual(task: Task) -> str:
    return "others" if task.target == "class" else "all"


def _classes(targets: Any) -> Tensor:
    """The labels B of a batch.

    Raises:
        Refusal: RCP1501: a target is not one class.
    """
    if not (isinstance(targets, torch.Tensor) and targets.ndim == 1 and not targets.is_floating_point()):
        raise Refusal(
            "RCP1501",
            "`crd` draws images of other classes, and a target of this training is not one class",
            "write `crd(among=all)`, or leave out what mixes images",
        )
    return targets
