"""`bn`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipelang.catalogue import method
from recipelang.kinds import Evidence

if TYPE_CHECKING:
    from torch import Tensor


@method("criterion", "bn")
@dataclass(frozen=True)
class BatchNormScale:
    """How much BatchNorm scales a channel: its |γ|, independent of the size of the weights before it.

    Formula: filter |γ| of the BatchNorm that scales its channel; all groups are ranked together, by the same scale
        (network slimming's global threshold).
    Coupled: where several BatchNorms scale a channel, as at the sums of a ResNet, the mean of their |γ|.
    Layers: the mean over the channels of all their BatchNorms.
    Shapes: N channels scaled by M BatchNorms, N×M; N scores.
    Needs: BatchNorm with scales, no data. Groups that no BatchNorm scales stay whole, and the report names them.
    Measured: ResNet-56 for CIFAR-10, trained without a penalty on γ (90.6 % of 1,000 test images), has 89.8, 43.0 and
        14.3 % at 0.9, 0.8 and 0.7 of its FLOPs, without tuning; filters in random order 63.4, 49.3 and 21.5 %.
    When it misleads: γ says nothing where training did not push any of them to zero: train with an L1 penalty on γ
        first (`train … with slimming`). A large β after a small γ still gives a constant that later layers use, and a
        large weight after it makes up for a small γ.
    Source: Liu, Li, Shen, Huang, Yan, Zhang, "Learning efficient convolutional networks through network slimming",
        ICCV 2017; layers: Elkerdawy et al., "To filter prune, or to layer prune, that is the question", ACCV 2020.
    """

    unit: ClassVar[str] = "filter"
    needs: ClassVar[tuple[str, ...]] = ("batchnorm",)

    def score(self, evidence: Evidence) -> Mapping[str, Tensor]:
        """Group or BatchNorm → |γ|, the mean over the BatchNorms that scale the channel."""
        return {name: scales.abs().mean(1) for name, scales in evidence.scales.items()}
