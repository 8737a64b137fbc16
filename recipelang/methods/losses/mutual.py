"""The loss `mutual`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from recipelang.catalogue import method
from recipelang.kinds import SEVERAL, Loss, Moment, Pairing, Seen, Task

if TYPE_CHECKING:
    from torch import Tensor, nn


@method("loss", "mutual")
@dataclass(frozen=True)
class Mutual(Loss):
    """Mutual learning: networks that train together teach each other.

    What: the networks that `from` names are no teachers that are finished, but peers: they train along on the same
        batches, each on the labels and on the answers of all others.
    Formula: Σ_k [k > 0] · task(o_k, y) + 1/(K − 1) · Σ_(l ≠ k) D(o_l, o_k), o_0 the answer of the network and o_1 … of
        its peers, D the divergence of the task (classification: KL(softmax(o_l) ‖ softmax(o_k))) in which o_l has no
        gradient. `1 * task` beside it is the network's own; together this is the sum of the losses of all K networks.
    Shapes: answers of network and peers alike, and targets → scalar.
    Trained along: the peers, by the same optimizer; masks and grids of theirs hold. All networks step at once, where
        the paper's algorithm alternates between them in each step.
    Leaves: `peer1`, `peer2`, … in the order of `from`, each with its row in the report; the states that `from` names
        stay as they were.
    When it misleads: two networks that begin with equal weights stay equal, and are refused. A peer that is far worse
        says little; its own gain is larger than that of the network.
    Source: Zhang et al. 2018, "Deep Mutual Learning", equations 4 to 8.
    """

    teachers: ClassVar[tuple[int, int]] = (1, SEVERAL)
    complete: ClassVar[bool] = False
    compares: ClassVar[tuple[str, ...]] = ("outputs",)
    peers: ClassVar[bool] = True

    def leaves(self, teachers: int) -> tuple[str, ...]:
        """`peer1`, `peer2`, … in the order of `from`."""
        return tuple(f"peer{number}" for number in range(1, teachers + 1))

    def __call__(
        self,
        student: Seen,
        teachers: tuple[Seen, ...],
        targets: Any,
        task: Task,
        parts: nn.Module | None,
        moment: Moment,
    ) -> Tensor:
        """Answers of the network and of its peers, and targets → scalar."""
        answers = [student.outputs, *(teacher.outputs for teacher in teachers)]
        total: Tensor = student.outputs.new_zeros(())
        for mine, answer in enumerate(answers):
            if mine:
                total = total + task.loss(answer, targets)
            others = [other.detach() for theirs, other in enumerate(answers) if theirs != mine]
            total = total + sum(task.divergence(answer, other) for other in others) / len(others)
        return total

    def left(
        self, parts: nn.Module | None, pairings: tuple[Pairing, ...], network: Any, teachers: tuple[Any, ...]
    ) -> Mapping[str, Any]:
        """The trained peers."""
        return dict(zip(self.leaves(len(teachers)), teachers, strict=True))
