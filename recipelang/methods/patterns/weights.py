"""`sparsify weights to 90%`: single weights, wherever they are."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from recipelang.catalogue import method
from recipelang.errors import Refusal

if TYPE_CHECKING:
    from torch import Tensor


@method("pattern", "weights")
@dataclass(frozen=True)
class Weights:
    """Single weights are zero, wherever they are: the same share of every layer.

    Written `weights`, with the share of zeros after `to`: `sparsify weights to 90%`, at once or `over agp(…)`.

    What: the finest pattern; more weights can be removed at the same accuracy than in any other.
    Formula: of the N weights of a layer the ⌈share · N⌉ with the lowest scores are zero, of equal scores the last ones;
        one weight always stays.
    Shapes: scores of any shape → mask of the same shape.
    When it misleads: no kernel here skips single zeros, so they save no time. Every layer gets the same share, which
    costs small layers more than large ones: leave them out with `except`. A later pattern on the same weights takes the
    place of this one.
    Source: Han et al. 2015, "Learning both Weights and Connections"; Zhu, Gupta 2017 (the same share of every layer).
    """

    target: ClassVar[str] = "the share of zeros"
    restriction: ClassVar[str] = ""

    share: float = 0.0

    def at(self, target: float) -> Weights:
        """The pattern with another share of zeros, from 0 to 1."""
        return replace(self, share=target)

    def __str__(self) -> str:
        return f"{100 * self.share:.4g}% sparse"

    def refuses(self, weight: Tensor) -> str | None:
        """Why this weight cannot take the pattern; None: every one can."""
        return None

    def mask(self, scores: Tensor) -> Tensor:
        """Scores → bool of the same shape, True where the weight is kept.

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
        # A stable sort keeps equal scores in order, so that the lower index wins on every machine.
        order = scores.flatten().sort(descending=True, stable=True).indices
        keep = torch.zeros(scores.numel(), dtype=torch.bool, device=scores.device)
        keep[order[: self._kept(scores.numel())]] = True
        return keep.reshape(scores.shape)

    def holds(self, weight: Tensor) -> bool:
        """Whether the weight is in the pattern."""
        return int(weight.count_nonzero()) <= self._kept(weight.numel())

    def _kept(self, count: int) -> int:
        """How many of this many weights are kept; a share that is a decimal fraction is meant exactly."""
        return max(1, count - math.ceil(round(self.share * count, 6)))
