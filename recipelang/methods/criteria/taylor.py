"""`taylor`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipelang.catalogue import method
from recipelang.kinds import Evidence

if TYPE_CHECKING:
    from torch import Tensor


@method("criterion", "taylor")
@dataclass(frozen=True)
class Taylor:
    """How much the loss would change, to first order, if the weight were zero.

    Formula: element (g·w)², g = ∂loss/∂w, averaged over training batches; filter √Σ (g·w)²; layer: the mean over its
        filters (Eq 5.2).
    Coupled filters: the sum over all weights that make the channel, in all coupled layers. It estimates a change of the
        loss, so groups are compared as they are, without normalisation: ResNet-56 for CIFAR-10 (90.6 % of 1,000 test
        images) has 80.9, 58.8 and 40.2 % at 0.8, 0.7 and 0.6 of its FLOPs, without tuning, and 76.0, 29.0 and 14.8 %
        where each is divided by the mean of its group (2,048 training images).
    Shapes: weights O×I or O×I×k×k, one score for each element; O filters.
    Needs: one pass over the training images with gradients, without augmentation, BatchNorm in evaluation mode.
    When it misleads: near a minimum, gradients are small and noisy, and whole layers are far beyond first order; scores
        depend on the batch size, since gradients of larger batches average out more.
    Source: Molchanov et al., "Importance estimation for neural network pruning", CVPR 2019; layers: Elkerdawy et
        al., "To filter prune, or to layer prune, that is the question", ACCV 2020.
    """

    unit: ClassVar[str] = "element"
    needs: ClassVar[tuple[str, ...]] = ("weights", "gradients", "labels")
    norm: ClassVar[int] = 2

    def score(self, evidence: Evidence) -> Mapping[str, Tensor]:
        """Parameter name → mean (g·w)², the shape of the weight."""
        weights = evidence.weights
        return {name: square * weights[name].detach() ** 2 for name, square in evidence.squared_gradients.items()}
