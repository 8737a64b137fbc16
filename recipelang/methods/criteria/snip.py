"""`snip`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipelang.catalogue import method
from recipelang.kinds import Evidence

if TYPE_CHECKING:
    from torch import Tensor


@method("criterion", "snip")
@dataclass(frozen=True)
class Snip:
    """How much the loss depends on whether a connection is there, judged by one mini-batch.

    Formula: element |g·w| / Σ |g·w|, g = ∂loss/∂w of the mean loss of one mini-batch, the sum over all weights of the
        network (Eq 5 and 6); filters sum it, layers take the mean over their filters.
    Coupled filters: the sum over all weights that make the channel, in all coupled layers. Groups are compared as they
        are, since all scores are shares of one sum.
    Shapes: weights O×I or O×I×k×k, one score for each element; O filters.
    Needs: the gradients of one training batch, drawn with the seed; `on train(samples=N)` makes it smaller.
    Measured: ResNet-56 for CIFAR-10 (91.1 % of 1,000 test images) has 86.3, 76.1 and 45.6 % at 0.8, 0.7 and 0.6 of its
        FLOPs, without tuning (one batch of 128 training images).
    When it misleads: one batch is noise, and a network with many classes may not meet all of them; made for networks
        before training, where gradients are large; at 99 % and more it may leave layers without any weight.
    Source: Lee, Ajanthan, Torr, "SNIP: single-shot network pruning based on connection sensitivity", ICLR 2019.
    """

    unit: ClassVar[str] = "element"
    needs: ClassVar[tuple[str, ...]] = ("weights", "gradients", "labels")

    def score(self, evidence: Evidence) -> Mapping[str, Tensor]:
        """Parameter name → |g·w| / Σ |g·w|, the shape of the weight; zeros where no gradient reaches any weight.

        Raises:
            Refusal: RCP1005: a gradient is not a finite number; RCP1008: no training images.
        """
        weights = evidence.weights
        sensitivity = {
            name: (gradient * weights[name].detach()).abs() for name, gradient in evidence.batch_gradients.items()
        }
        total = sum(float(each.double().sum()) for each in sensitivity.values())
        return {name: each / total if total else each for name, each in sensitivity.items()}
