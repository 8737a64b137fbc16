"""`scop`, `scop(steps=100)`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from recipelang.catalogue import method, setting
from recipelang.kinds import Evidence

if TYPE_CHECKING:
    from torch import Tensor


@method("criterion", "scop")
@dataclass(frozen=True)
class SCOP:
    """Whether the network prefers a channel to a counterfeit of it that knows nothing of the labels.

    Formula: where a channel a_j is read, β_j·a_j + β̃_j·ã_j takes its place, ã its knockoff and β_j + β̃_j = 1 within
        0 … 1. From ½ on, β minimises the loss by Adam while the weights stay (Eq 7, 8). Score: σ_j·(β_j − β̃_j), σ_j
        the channel's standard deviation, relative to the mean of its group. After a BatchNorm σ_j is its |γ_j|, which
        is the source's factor.
    Knockoffs: second-order, of the channels themselves, place by place: ã has the means and covariances of a over
        positions and images, and Cov(a, ã) = Cov(a) − S, S_jj the variance of channel j that the others do not explain;
        what is missing of its covariance comes from another image. The source trains a generator of knockoffs of the
        input images and lets the network make features of them, which are knockoffs approximately; a generator costs
        more than the pruned network's training, and the condition, on which the method rests, is held here up to
        second moments in every group directly.
    Control: a channel whose knockoff serves as well scores 0, whatever its scale; one that repeats others does, since
        the others explain it. Where one is worse than its knockoff, the score is negative.
    Coupled filters: one β for each channel, wherever it is read, and knockoffs for each place. Channels that one weight
        reads at several positions (after a flatten, in a head) count as positions of one channel.
    Layers: a β for every output of their weights, before the norm; the mean over them.
    Shapes: N channels, N scores, in O(N³) for each group and place.
    Needs: a forward pass of `samples` training images and `steps` times a forward and a backward pass of `batch`.
    Measured: ResNet-20 for CIFAR-10 (80.4 % of 1,000 test images) has, with two seeds, 58.5 and 70.1 % at 0.9 of its
        FLOPs, 26.0 and 58.8 % at 0.8, 27.0 and 18.3 % at 0.7, without tuning; filters in random order 47.3, 38.9 and
        15.3 %. A longer contest pays: the second seed has 73.6, 59.3 and 39.0 % with
        `scop(steps=300, samples=1024, lr=0.01)`.
    When it misleads: rankings differ between seeds, so compare several. The source removes the same share of every
        layer, and scores of different groups say little about each other. With few images, covariances of wide groups
        are noisy; channels that depend on each other in
        other than linear ways have knockoffs that are easily distinguished, and look more important than they are.
    Source: Tang, Wang, Xu, Tao, Xu, Xu, Xu, "SCOP: scientific control for reliable neural network pruning", NeurIPS
        2020; second-order knockoffs: Candès, Fan, Janson, Lv, "Panning for gold: model-X knockoffs", JRSS B 2018.
    """

    unit: ClassVar[str] = "filter"
    needs: ClassVar[tuple[str, ...]] = ("network", "labels")

    steps: int = setting(100, type="integer", low=1, help="Steps of Adam.")
    lr: float = setting(0.02, type="number", low=0, open_low=True, help="Its step size.")
    samples: int = setting(256, type="integer", low=2, help="Training images, drawn once.")
    batch: int = setting(32, type="integer", low=2, help="Images of a step.")

    def score(self, evidence: Evidence) -> Mapping[str, Tensor]:
        """Group, or weight of a layer → σ (β − β̃) of each channel, σ relative to its group.

        Raises:
            Refusal: RCP1005: the loss is not finite. RCP1008: no training images. RCP1010: a feature is not finite.
        """
        from recipelang.measuring.knockoffs import contest

        scales, shares = contest(evidence, self.samples, self.steps, self.lr, self.batch)
        return {group: _relative(scales[group]) * (2 * share - 1) for group, share in shares.items()}


def _relative(scale: Tensor) -> Tensor:
    mean: Any = scale.mean()
    return scale / mean if mean > 0 else scale
