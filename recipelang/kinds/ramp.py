"""What changes a setting over training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from recipelang.plan import Mark


class Ramp(Protocol):
    """`lr=cosine(1e-3, to=0)`: a setting's value over training."""

    def value_at(self, step: int, total: int, steps_per_epoch: int) -> float:
        """Value for the update number `step` (from 0) of `total`."""

    def marks(self) -> tuple[Mark, ...]:
        """The moments that a training must reach for the ramp to take effect as written."""
