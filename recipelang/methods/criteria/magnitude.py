"""`magnitude(p=1)`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipelang.catalogue import method, setting
from recipelang.kinds import Evidence

if TYPE_CHECKING:
    from torch import Tensor


@method("criterion", "magnitude")
@dataclass(frozen=True)
class Magnitude:
    """How large the weights are.

    Formula: element |w|^p; filter (Σ |w|^p)^(1/p), its L1 or L2 norm; layer: the mean over its filters (Eq 5.1).
    Shapes: weights O×I or O×I×k×k, one score for each element; O filters.
    Needs: weights alone, no data.
    When it misleads: norms of layers with larger filters are larger, so it tends to keep wide layers; a scale
        in the norm that follows can undo any weight. On ResNet-56 for CIFAR-10 the mean absolute weight agreed with
        the loss after leaving a block out at a rank correlation of 0.21 (`imprint`: 0.52).
    Source: Li et al., "Pruning filters for efficient ConvNets", ICLR 2017; layers: Elkerdawy et al., "To filter
        prune, or to layer prune, that is the question", ACCV 2020.
    """

    unit: ClassVar[str] = "element"
    needs: ClassVar[tuple[str, ...]] = ("weights",)

    p: int = setting(1, type="integer", low=1, high=2, positional=True, help="1: absolute values, 2: squares.")

    @property
    def norm(self) -> int:
        """A filter's score is the root of this order of its sum: its L1 or L2 norm."""
        return self.p

    def score(self, evidence: Evidence) -> Mapping[str, Tensor]:
        """Parameter name → |w|^p, the shape of the weight."""
        return {name: weight.detach().abs() ** self.p for name, weight in evidence.weights.items()}
