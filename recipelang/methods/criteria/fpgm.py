"""`fpgm`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipelang.catalogue import method
from recipelang.kinds import Evidence
from recipelang.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


@method("criterion", "fpgm")
@dataclass(frozen=True)
class FPGM:
    """How far a filter is from the others of its layer: one near their geometric median can be replaced by them.

    Formula: filter g(x) = Σ_j ‖x − F_j‖₂ over all filters F_j of its layer, itself included (Eq 8); the filters of
        smallest g are those nearest to the geometric median.
    Coupled: the filters of all layers that make a channel are one vector, so that distances are those of the whole
        channel. Ranked across groups, a score is divided by the mean of its group, since distances grow with the
        scale of the weights and the number of filters. ResNet-56 for CIFAR-10 (90.6 % of 1,000 test images) has 89.4,
        75.2 and 25.5 % at 0.8, 0.7 and 0.57 of its FLOPs, without tuning, and 83.0, 29.9 and 33.6 % (at 0.6) with
        distances as they are.
    Layers: the mean over the filters of all their weights.
    Shapes: N filters of K weights, N×K; N scores, in O(N²·K).
    Needs: only weights, no data.
    When it misleads: it asks only whether a filter can be replaced, not whether anything depends on it: a filter that
        differs from all others stays, however small its effect. Filters of equal weights count as replaceable by each
        other, all of them at once.
    Source: He, Liu, Wang, Hu, Yang, "Filter pruning via geometric median for deep convolutional neural networks
        acceleration", CVPR 2019.
    """

    unit: ClassVar[str] = "filter"
    needs: ClassVar[tuple[str, ...]] = ("weights",)
    relative: ClassVar[bool] = True

    def score(self, evidence: Evidence) -> Mapping[str, Tensor]:
        """Group or weight → the sum of the distances of each filter to all."""
        return {name: _distances(rows) for name, rows in evidence.filters.items()}


def _distances(rows: Tensor) -> Tensor:
    """N×K → N: sums of Euclidean distances; in float64, since distances of near filters are small differences."""
    wide = rows.double()
    return torch.cdist(wide, wide, compute_mode="use_mm_for_euclid_dist").sum(1).to(rows.dtype)
