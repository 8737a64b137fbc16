"""What a sparsity pattern must offer."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol, Self

if TYPE_CHECKING:
    from torch import Tensor


class Pattern(Protocol):
    """`sparsify NAME …`: which weights may stay.

    Attributes:
        target: what the number after `to` says, in words; "" for a pattern that determines how much is removed.
    """

    target: ClassVar[str]

    @property
    def restriction(self) -> str:
        """The restriction that it imposes for the hardware (`2:4`); "" for a pattern that no hardware asks for."""

    def at(self, target: float) -> Self:
        """The pattern with another target, 0 … 1; only where there is one. A schedule asks for those on the way."""

    def refuses(self, weight: Tensor) -> str | None:
        """Why this weight (O×I or O×I×kh×kw) cannot take the pattern; None where it can."""

    def mask(self, scores: Tensor) -> Tensor:
        """Scores of the weight's shape → bool of the same shape, True where the weight stays."""

    def holds(self, weight: Tensor) -> bool:
        """Whether the weight is in the pattern."""
