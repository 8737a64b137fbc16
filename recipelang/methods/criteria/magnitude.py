"""`magnitude`, `magnitude(p=1)`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
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
    Coupled filters: the norm of all weights that make the channel, in all coupled layers together. L2 norms of groups
        are compared as they are; L1 norms, which grow with the number of weights, are divided by the mean of their
        group. ResNet-56 for CIFAR-10 (90.6 % of 1,000 test images) has at 0.8, 0.7 and 0.6 of its FLOPs, without
        tuning: 86.9, 80.0 and 69.0 % with L2 norms, 87.4, 73.4 and 29.5 % with each divided by the mean of its group,
        87.9, 63.4 and 27.8 % with L1 norms, 49.3, 21.5 and 14.5 % in random order.
    Norm: by default, layers are ranked by L2 norms, as in Eq 5.1, and single weights by |w|. On ResNet-56 for CIFAR-10
        the rank correlation with the loss after leaving a block out (1,000 test images) is 0.31 with L2 and −0.20 with
        L1; with the 6 least important blocks removed and no tuning, accuracy falls from 89.0 % to 60.4 % with L2, to
        26.4 % with L1 and to 56.7 % in random order: L1 norms grow faster with the number of weights in a filter, and
        put the blocks of the narrow first stage before all others.
    Shapes: weights O×I or O×I×k×k, one score for each element; O filters.
    Needs: only weights, no data.
    When it misleads: norms of layers with larger filters are larger, so it tends to keep wide layers; a scale in the
        following norm can undo any weight. `imprint` agrees better with leaving blocks out (0.52).
    Source: layers: Elkerdawy et al., "To filter prune, or to layer prune, that is the question", ACCV 2020; L1: Li et
        al., "Pruning filters for efficient ConvNets", ICLR 2017.
    """

    unit: ClassVar[str] = "element"
    needs: ClassVar[tuple[str, ...]] = ("weights",)

    p: int | None = setting(
        None,
        type="integer",
        low=1,
        high=2,
        positional=True,
        help="1: absolute values, 2: squares; by default 2 for filters and layers, 1 for single weights.",
    )

    @property
    def coarse(self) -> Magnitude:
        """The same criterion with the norm used to rank filters and layers."""
        return replace(self, p=self.p or 2)

    @property
    def norm(self) -> int:
        """A filter's score is the root of this order of the sum over its weights: its L1 or L2 norm."""
        return self.p or 1

    @property
    def relative(self) -> bool:
        """Whether filters are compared with the mean of their group: L1 norms grow with the number of weights."""
        return self.norm == 1

    def score(self, evidence: Evidence) -> Mapping[str, Tensor]:
        """Parameter name → |w|^p, the shape of the weight."""
        return {name: weight.detach().abs() ** self.norm for name, weight in evidence.weights.items()}
