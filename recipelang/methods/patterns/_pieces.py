"""Patterns whose zeros come in pieces of a weight, and a share of the pieces: what `weights` to `blocks` share."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self

from recipelang.errors import Refusal

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Pieces(ABC):
    """A pattern that keeps or removes pieces of a weight whole; a pattern says how a weight is divided into them.

    Of the N pieces of a weight the ⌈share · N⌉ with the lowest sums of scores are zero, of equal ones the last; one
    always stays.
    """

    target: ClassVar[str] = "the share of zeros"
    restriction: ClassVar[str] = ""
    piece: ClassVar[str]  # in words, in the singular
    scores: ClassVar[tuple[str, ...]] = ("element", "any")
    grouped: ClassVar[bool] = True

    share: float = 0.0

    def at(self, target: float) -> Self:
        """The pattern with another share of zeros, from 0 to 1."""
        return replace(self, share=target)

    def __str__(self) -> str:
        return f"{100 * self.share:.4g}% sparse in {self.piece}s"

    def refuses(self, weight: Tensor) -> str | None:
        """Why this weight cannot take the pattern; None if it can."""
        return None if weight.ndim > 2 else f"a linear weight has no {self.piece}s"

    @abstractmethod
    def split(self, weight: Tensor) -> Tensor:
        """A weight as N×E: N pieces of E elements."""

    def joined(self, pieces: Tensor, weight: Tensor) -> Tensor:
        """The inverse of `split`: N×E as a tensor of the weight's shape."""
        return pieces.reshape(weight.shape)

    def mask(self, scores: Tensor) -> Tensor:
        """Scores of the weight's shape → bool of the same shape, True where the weight is kept.

        An element whose score is −∞ has been removed already: it adds nothing to its piece, and a piece of such
        elements alone comes last.

        Raises:
            Refusal: RCP0704: a score is NaN.
        """
        from recipelang.lazy import torch

        if scores.isnan().any():
            raise Refusal(
                "RCP0704",
                "an importance score is not a number",
                "look for NaN in the weights or gradients; a lower learning rate may help",
            )
        pieces = self.split(scores)
        removed = pieces.isneginf()
        sums = pieces.double().masked_fill(removed, 0).sum(1).masked_fill(removed.all(1), -torch.inf)
        # A stable sort keeps equal sums in order, so that the lower index wins on every machine.
        order = sums.sort(descending=True, stable=True).indices
        keep = torch.zeros(len(sums), dtype=torch.bool, device=scores.device)
        keep[order[: self.kept(len(sums))]] = True
        return self.joined(keep[:, None].expand(pieces.shape), scores)

    def holds(self, weight: Tensor) -> bool:
        """Whether the weight is in the pattern: no more pieces have nonzero elements than may stay."""
        if self.refuses(weight):
            return False
        pieces = self.split(weight)
        return int(pieces.bool().any(1).sum()) <= self.kept(len(pieces))

    def kept(self, count: int) -> int:
        """How many of this many pieces are kept; a share that is a decimal fraction is meant exactly."""
        return max(1, count - math.ceil(round(self.share * count, 6)))
