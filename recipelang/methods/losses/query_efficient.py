"""The loss `query_efficient`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from recipelang.catalogue import method
from recipelang.kinds import Loss, Moment, Pairing, Seen, Task
from recipelang.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor, nn


@method("loss", "query_efficient")
@dataclass(frozen=True)
class QueryEfficient(Loss):
    """Query-efficient distillation: the teacher is asked only about samples on which the network errs.

    What: saves forward passes of the teacher, the more the better the network becomes.
    Formula: CE(s[ŷ ≠ y], argmax t(x[ŷ ≠ y])), ŷ = argmax s: the mean over the samples of the batch that the network
        gets wrong; 0 where there are none. Beside another loss: `task + query_efficient`.
    Shapes: outputs B×C of the network, labels B, outputs of the teacher for the samples it was asked about → scalar.
    Measured: the record says for which share of the samples the teacher was asked, and about what time that saved.
    When it misleads: where the network is nearly always right on training data, as a pruned one is after a few epochs,
        the teacher says nothing any more. Each term asks for itself: another loss that compares with the teacher would
        ask about every sample, and is refused.
    Source: Elkerdawy's thesis, chapter 7, equation 7.3, without a distillation token: the network's own output learns.
    """

    teachers: ClassVar[tuple[int, int]] = (1, 1)
    complete: ClassVar[bool] = False
    chooses: ClassVar[bool] = True
    tasks: ClassVar[tuple[str, ...]] = ("classification",)
    compares: ClassVar[tuple[str, ...]] = ("outputs",)

    def parts(self, pairings: tuple[Pairing, ...]) -> nn.Module:
        """How many samples there were, and how many the teacher was asked about."""
        counts = torch.nn.Module()
        counts.register_buffer("seen", torch.zeros((), dtype=torch.int64))
        counts.register_buffer("asked", torch.zeros((), dtype=torch.int64))
        return counts

    def asks(self, outputs: Tensor, targets: Tensor, task: Task) -> Tensor:
        """Outputs B×C, labels B or shares of classes B×C → bool B, where the network errs."""
        labels = targets if targets.ndim == 1 else targets.argmax(1)
        return outputs.argmax(1) != labels

    def __call__(
        self,
        student: Seen,
        teachers: tuple[Seen, ...],
        targets: Any,
        task: Task,
        parts: nn.Module | None,
        moment: Moment,
    ) -> Tensor:
        """Outputs of the network, and of the teacher where it was asked → scalar."""
        asked: Any = teachers[0].asked
        counts: Any = parts
        if counts is not None:
            counts.seen += len(student.outputs)
            counts.asked += int(asked.sum())
        if teachers[0].outputs is None:
            nothing: Tensor = student.outputs.sum() * 0
            return nothing
        return task.loss(student.outputs[asked], task.labels(teachers[0].outputs))

    def told(self, parts: nn.Module | None, seconds: float | None) -> str:
        """Which share was asked, and what time was saved."""
        counts: Any = parts
        share = int(counts.asked) / max(1, int(counts.seen))
        text = f"`query_efficient`: the teacher was asked about {share:.1%} of {int(counts.seen):,} samples"
        if seconds is None:
            return text
        return f"{text}, which saved about {seconds * int(counts.seen - counts.asked):.3g} s"
