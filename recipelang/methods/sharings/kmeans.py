"""`kmeans`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipelang.catalogue import method, setting
from recipelang.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

#: rounds of assigning and averaging; on a line it settles in a few dozen
MOST_ROUNDS = 300


@method("sharing", "kmeans")
@dataclass(frozen=True)
class KMeans:
    """Groups whose elements are as near as possible to their mean: k-means clustering of the numbers of a weight.

    What: the second step of Deep Compression. The means (centroids) are what the groups share; later training moves
        them, while every element stays in its group.
    Formula: argmin over groups of Σ_groups Σ_(w in group) (w − c)², by Lloyd's rounds: each number joins the nearest
        centroid, each centroid becomes the mean of its group, until nothing moves. Starting centroids c_k, k = 0 … K−1:
        `linear` min + k·(max − min)/(K − 1); `density` the quantile (k + 1/2)/K; `random` K of the numbers. Training:
        g = 1/n · Σ_(w in group) ∂L/∂w for each of the n elements. That is a step of the weights one by one, projected
        onto weights that share (Bertsekas 1976): 1ᵀH1/n ≤ λ_max(H), so a learning rate with which they train without
        sharing trains here too. `gradient=sum` is the paper's ∂L/∂c = Σ ∂L/∂w, whose curvature 1ᵀH1 grows with n.
    Shapes: N numbers of one weight, without those that a mask sets to zero → at most K = 2^bits centroids.
    Needs: weights alone, no data.
    When it misleads: an outlier takes a centroid of `linear` for itself; `density` and `random` have none for the few
        large weights, which matter most. With `gradient=sum`, groups of thousands move far in one step, and a usual
        learning rate diverges.
    Source: Han, Mao and Dally 2016, "Deep Compression", arXiv:1510.00149, section 3; Lloyd 1982; Bertsekas 1976,
        "On the Goldstein-Levitin-Polyak gradient projection method".
    """

    bits: ClassVar[tuple[int, ...]] = tuple(range(1, 9))

    init: str = setting(
        "linear",
        type="word",
        choices=("linear", "density", "random"),
        positional=True,
        help="Where centroids start: evenly between the extremes, evenly among the numbers, or at random ones.",
    )
    gradient: str = setting(
        "mean",
        type="word",
        choices=("mean", "sum"),
        help="What a centroid gets in training: the mean of its elements' gradients, or their sum.",
    )

    def values(self, numbers: Tensor, count: int, seed: int) -> Tensor:
        """The centroids in rising order; the numbers themselves where there are no more than `count` different ones."""
        distinct = numbers.unique()
        if len(distinct) <= count:
            return distinct
        line = numbers.double().sort().values
        sums = torch.cat([line.new_zeros(1), line.cumsum(0)])
        centroids = self._start(line, count, seed)
        for _ in range(MOST_ROUNDS):
            edges = torch.searchsorted(line, (centroids[1:] + centroids[:-1]) / 2)
            ends = torch.cat([edges.new_zeros(1), edges, edges.new_tensor([len(line)])])
            members = ends.diff()
            means = torch.where(members > 0, sums[ends].diff() / members.clamp_min(1), centroids)
            if torch.equal(means, centroids):
                break
            centroids = means
        return centroids.float()

    def _start(self, line: Tensor, count: int, seed: int) -> Tensor:
        """Centroids (count,) in rising order, from the sorted numbers."""
        if self.init == "linear":
            return torch.linspace(float(line[0]), float(line[-1]), count, dtype=torch.float64)
        if self.init == "density":
            return line[((torch.arange(count) + 0.5) / count * len(line)).long()]
        drawn = torch.randperm(len(line), generator=torch.Generator().manual_seed(seed))[:count]
        return line[drawn.sort().values]
