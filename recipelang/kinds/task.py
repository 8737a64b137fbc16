"""What a task must offer."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    from torch import Tensor


class Task(Protocol):
    """`task NAME`: what outputs mean."""

    metrics: ClassVar[tuple[str, ...]]  # default columns of a report

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """outputs B×C, labels B → scalar, mean over the batch."""
