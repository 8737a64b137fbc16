"""What a sparsity pattern must offer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor


class Pattern(Protocol):
    """`sparsify NAME …`: which weights may stay."""

    @property
    def restriction(self) -> str:
        """The restriction that it imposes for the hardware (`2:4`); "" for a pattern that no hardware asks for."""

    def refuses(self, weight: Tensor) -> str | None:
        """Why this weight (O×I or O×I×kh×kw) cannot take the pattern; None where it can."""

    def mask(self, scores: Tensor) -> Tensor:
        """Scores of the weight's shape → bool of the same shape, True where the weight stays."""

    def holds(self, weight: Tensor) -> bool:
        """Whether the weight is in the pattern."""
