"""How the values are chosen that the elements of a weight share."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    from torch import Tensor


class Sharing(Protocol):
    """`share weights to 5 bits by NAME(…)`: the values of a weight's groups. Each element joins the nearest one.

    Attributes:
        bits: how many bits the number of a group may have; `check` refuses others.
        gradient: what a group gets in later training from the gradients of its elements: their `sum` or their `mean`.
    """

    bits: ClassVar[tuple[int, ...]]

    @property
    def gradient(self) -> str: ...

    def values(self, numbers: Tensor, count: int, seed: int) -> Tensor:
        """The shared values, (K,), K ≤ count, in any order.

        Args:
            numbers: float32 (N,), finite: the elements that share, N ≥ 1.
            count: how many values there may be.
            seed: for what is drawn.
        """
