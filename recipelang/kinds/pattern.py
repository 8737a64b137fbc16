"""What a sparsity pattern must offer."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol, Self

if TYPE_CHECKING:
    from torch import Tensor

#: the units of criteria that every pattern can use
PATTERN_SCORES = ("element", "any")


class Pattern(Protocol):
    """`sparsify NAME …`: which weights may stay.

    Attributes:
        target: what the number after `to` says, in words; "" for a pattern that determines how much is removed.

    Optional:
        scores: the units of criteria that can rank its pieces; default `PATTERN_SCORES`. Scores of elements are summed
            over a piece. With `filter`, a criterion of filters ranks coupled channels, and every element of a filter
            has the score of its channel. `check` refuses other criteria.
        piece: what is kept or removed whole, in words; default `weight`.
        grouped: whether convolutions in groups can take it; default false.
        across: whether its pieces span channels, so that removing channels would break them; default: whether there is
            a restriction for hardware.
        separator: between the numbers of the pattern, `:` or `x`, where only one is meant.
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
