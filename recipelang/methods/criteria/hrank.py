"""`hrank`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from recipelang.catalogue import method
from recipelang.kinds import Evidence
from recipelang.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


@method("criterion", "hrank")
@dataclass(frozen=True)
class HRank:
    """How much a channel's feature maps hold: the rank of each, as a matrix of rows and columns.

    Formula: filter mean over training images of rank(map), the number of singular values of the H×W matrix above
        max(H, W) · ε · the largest; the maps as the next layer reads them, after norm and activation (Eq 4–7).
    Coupled filters: the mean over all layers that read the channel, and over all its maps where it has several. Ranked
        across groups, a score is divided by the mean of its group, since a rank is at most the side of the map; the
        paper gives every layer its own ratio.
    Layers: the mean over the filters of their convolutions, of the maps that these make.
    Shapes: maps B×N×H×W → N scores.
    Needs: one forward pass over the training images, without labels; the paper finds the order of channels stable from
        a few hundred images on: `on train(samples=512)`. Every map has its singular values computed, in a time that
        grows with the cube of its side.
    Does not apply: what is read as vectors, tokens or volumes has no such matrix and stays whole. Where a flatten makes
        the maps a vector, they are taken as square; where that is impossible the channel stays.
    Measured: ResNet-56 for CIFAR-10 (91.1 % of 1,000 test images) has 84.9, 47.1 and 24.3 % at 0.8, 0.7 and 0.6 of its
        FLOPs, without tuning (510 training images).
    When it misleads: most maps of smooth activations have full rank, whatever they are for, and many of ReLU differ by
        rounding alone; a channel of one bright row has rank 1 and may decide the class.
    Source: Lin, Ji, Wang, Zhang, Zhang, Tian, Shao, "HRank: filter pruning using high-rank feature map", CVPR 2020.
    """

    unit: ClassVar[str] = "filter"
    needs: ClassVar[tuple[str, ...]] = ("weights", "activations")
    relative: ClassVar[bool] = True
    rests_on: ClassVar[tuple[str, ...]] = ("convolution",)
    unfit: ClassVar[Mapping[str, str]] = {
        "neurons": "it needs maps with rows and columns, and neurons make vectors",
        "heads": "it needs maps with rows and columns, and heads make vectors",
    }

    def score(self, evidence: Evidence) -> Mapping[str, Tensor]:
        """Group or weight → N mean ranks.

        Raises:
            Refusal: RCP1008: no training images.
        """
        sums: dict[str, Tensor] = {}
        counts: dict[str, int] = {}

        def observe(name: str, maps: Tensor, gradients: Tensor | None, targets: Any) -> None:
            matrices = _matrices(maps)
            if matrices is not None:
                ranks = torch.linalg.matrix_rank(matrices).double().sum((0, 2))
                sums[name] = sums[name] + ranks if name in sums else ranks
                counts[name] = counts.get(name, 0) + matrices.shape[0] * matrices.shape[2]

        evidence.feature_maps(observe, shaped=True)
        return {name: total / counts[name] for name, total in sums.items()}


def _matrices(maps: Tensor) -> Tensor | None:
    """B×N×c×H×W; of a flatten, B×N×c×1, whose c positions are a square, B×N×1×√c×√c; None for anything else."""
    if maps.ndim == 5:
        return maps if maps.shape[-2] > 1 or maps.shape[-1] > 1 else None
    side = math.isqrt(maps.shape[2])
    if maps.ndim == 4 and maps.shape[3] == 1 and side > 1 and side * side == maps.shape[2]:
        return maps.reshape(*maps.shape[:2], 1, side, side)
    return None
