"""What raises a target step by step during a training."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    from recipelang.plan import Mark


class Schedule(Protocol):
    """`over NAME(…)`: how far the target of a statement is reached after each step of its training.

    A schedule knows numbers only, so one serves every verb that has a target: masks that follow it are a companion of
    the training, parts are removed between its windows.

    Attributes:
        moves: what can follow it: `masks` (patterns of `sparsify`) and `parts` (units of `prune`). `check` refuses the
            other.
    """

    moves: ClassVar[tuple[str, ...]]

    def target_at(self, final: float, step: int, total: int, steps_per_epoch: int) -> float | None:
        """The target from the optimizer step number `step` (from 0) of `total` on; None: it stays what it was.

        Args:
            final: the target of the statement, which the last of these values is.
        """

    def why_not(self, final: float) -> str:
        """Why it cannot end at this target; "" where it can. Continues "`NAME` …"."""

    def marks(self) -> tuple[Mark, ...]:
        """The moments that a training must reach for the schedule to end at its target."""
