"""What a term of a training loss must offer."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol

from recipelang.kinds.task import Task

if TYPE_CHECKING:
    from torch import Tensor


class Loss(Protocol):
    """`with NAME(…)`: one term of a training loss.

    Attributes:
        teachers: (least, most) number of teachers that it compares with.
        complete: whether it trains on its own; incomplete terms get `1 * task` added to them.
    """

    teachers: ClassVar[tuple[int, int]]
    complete: ClassVar[bool]

    def __call__(self, outputs: Tensor, labels: Tensor, teachers: tuple[Tensor, ...], task: Task) -> Tensor:
        """outputs B×C of the student, labels B, teachers' outputs each B×C → scalar."""
