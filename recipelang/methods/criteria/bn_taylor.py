"""`bn_taylor`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipelang.catalogue import method
from recipelang.kinds import Evidence

if TYPE_CHECKING:
    from torch import Tensor


@method("criterion", "bn_taylor")
@dataclass(frozen=True)
class BatchNormTaylor:
    """How much the loss would change, to first order, if BatchNorm scaled the channel with zero.

    Formula: filter (γ·∂loss/∂γ)², averaged over training batches, γ of the BatchNorm that scales its channel.
    Coupled: where several BatchNorms scale a channel, as at the sums of a ResNet, the sum over them. It estimates a
        change of the loss, so groups are compared as they are.
    Layers: the mean over the channels of all their BatchNorms.
    Shapes: N channels scaled by M BatchNorms, N×M; N scores.
    Needs: BatchNorm with scales, and one pass over the training images with gradients, BatchNorm in evaluation mode.
        Groups that no BatchNorm scales stay whole, and the report names them.
    Measured: ResNet-56 for CIFAR-10 (91.1 % of 1,000 test images) has 86.4, 78.0 and 57.9 % at 0.8, 0.7 and 0.6 of its
        FLOPs, without tuning (512 training images).
    When it misleads: as `taylor`: near a minimum gradients are small and noisy. The shift β stays in the estimate, as
        in the network until the channel is removed: a channel whose γ is zero may still pass on a constant.
    Source: Molchanov et al., "Importance estimation for neural network pruning", CVPR 2019 (gates after BatchNorm);
        layers: Elkerdawy et al., "To filter prune, or to layer prune, that is the question", ACCV 2020.
    """

    unit: ClassVar[str] = "filter"
    needs: ClassVar[tuple[str, ...]] = ("batchnorm", "gradients", "labels")
    adds: ClassVar[bool] = True

    def score(self, evidence: Evidence) -> Mapping[str, Tensor]:
        """Group or BatchNorm → (γ·∂loss/∂γ)², the sum over the BatchNorms that scale the channel.

        Raises:
            Refusal: RCP1005: a gradient is not a finite number; RCP1008: no training images.
        """
        squares = evidence.squared_scale_gradients
        return {name: (scales.square() * squares[name]).sum(1) for name, scales in evidence.scales.items()}
