"""`obd`, `obd(hessian=hutchinson, probes=8)`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipelang.catalogue import method, setting
from recipelang.kinds import Evidence

if TYPE_CHECKING:
    from torch import Tensor


@method("criterion", "obd")
@dataclass(frozen=True)
class OptimalBrainDamage:
    """How much the loss would grow, to second order, if the weight were zero: gradients vanish where training ended.

    Formula: element h_kk · w²/2, h_kk = ∂²loss/∂w² averaged over training images; filters sum it, layers take the mean
        over their filters.
    `hessian=fisher`: h of the Gauss–Newton matrix, as in the paper, which drops the second derivatives of the network's
        functions: the mean of (∂ log p(ŷ)/∂w)², with ŷ drawn from the network's own answer, an image at a time
        (random signs keep the images of a batch apart). It is never negative, and with ReLU it is the Hessian's.
    `hessian=hutchinson`: h of the Hessian itself, as the mean of v · Hv with random v = ±1; noisier, since every other
        weight of the network enters, and negative where the loss bends down.
    Coupled filters: the sum over all weights that make the channel, in all coupled layers. It estimates a change of the
        loss, so groups are compared as they are, without normalisation.
    Shapes: weights O×I or O×I×k×k, one score for each element; O filters.
    Needs: one pass over the training images with `probes` gradients each (`hutchinson`: each costs three), without
        augmentation, BatchNorm in evaluation mode; `fisher` does not look at labels.
    Measured: ResNet-56 for CIFAR-10 (91.1 % of 1,000 test images) has 65.7, 35.2 and 19.5 % at 0.8, 0.7 and 0.6 of its
        FLOPs, without tuning (510 training images, one draw a batch); `taylor` 79.7, 50.6 and 29.2 %.
    When it misleads: cross terms h_kl are dropped, and the weights of one filter are far from independent. Of a network
        that was not trained to the end, first-order terms are larger (`taylor`); where it is certain of every image, h
        is close to 0 everywhere.
    Source: LeCun, Denker, Solla, "Optimal brain damage", NeurIPS 1989; Hutchinson 1990, A stochastic estimator of the
        trace of the influence matrix.
    """

    unit: ClassVar[str] = "element"
    needs: ClassVar[tuple[str, ...]] = ("weights", "gradients", "labels")
    tasks: ClassVar[tuple[str, ...]] = ("classification",)

    hessian: str = setting(
        "fisher", type="word", choices=("fisher", "hutchinson"), positional=True, help="How the diagonal is estimated."
    )
    probes: int = setting(1, type="integer", low=1, help="Random draws for each batch; more of them reduce the noise.")

    def score(self, evidence: Evidence) -> Mapping[str, Tensor]:
        """Parameter name → h·w²/2, the shape of the weight.

        Raises:
            Refusal: RCP1005: a derivative is not a finite number; RCP1008: no training images; RCP0732: a weight of a
                layer is computed from parameters.
        """
        weights, found = evidence.weights, evidence.hessian_diagonal(self.hessian, self.probes)
        return {name: diagonal * weights[name].detach() ** 2 / 2 for name, diagonal in found.items()}
