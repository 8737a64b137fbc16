"""`dcp`, `dcp(rounds=8, balance=1)`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipelang.catalogue import method, setting
from recipelang.kinds import Evidence

if TYPE_CHECKING:
    from torch import Tensor


@method("criterion", "dcp")
@dataclass(frozen=True)
class DCP:
    """How early a channel is chosen when the layer that reads it is rebuilt, so that it still tells the classes apart.

    Formula: for the weights W that read a group, L(W) = Σ ½·mean((F − O)²) / mean(O²) + balance · cross-entropy of a
        classifier on F (Eq 6), F their outputs with W and O those of the network. From W = 0, every round adds the
        channels j with the largest norms of the gradient ∂L/∂W_j (Frobenius, Eq 7, Algorithm 2) with the weights that
        they had, and trains the columns of all that were added (Eq 8). Score: the part of L that was left when the
        channel was added, (L_t − L_whole) / (L_0 − L_whole), falling within a round in the order of the norms.
    Classifiers: BatchNorm, ReLU, average pooling and a linear layer on the output of every weight that reads, which is
        as many losses as layers; the source has a few, at the ends of stages, and trains the network with them. Here
        the network stays as it is, and the linear layer alone is trained, on the outputs that are to be rebuilt.
    Differences: the squared error is relative to the outputs, so that layers of any scale weigh the same; Adam, with
        steps relative to the weights, instead of SGD; `rounds` rounds instead of one for each channel.
    Coupled filters: the loss of all weights that read the channel, together. All groups ranked together keep channels
        until the same part of their losses is left, which is the source's stopping condition. Groups that something
        else reads (a transposed convolution, an LSTM, a computed weight) stay whole.
    Shapes: N channels read by O×I×k×k; N scores. Only the order is of channels; a score is what was still missing.
    Needs: labels, and classes; what enters the layers for `samples` training images; then for every layer, on these,
        `rounds` · (`steps` + 1 pass over all) forward and backward passes of that layer alone.
    Measured: ResNet-20 for CIFAR-10 (80.4 % of 1,000 test images) has 64.0, 42.6, 30.7 and 23.4 % at 0.9, 0.8, 0.7 and
        0.6 of its FLOPs, without tuning, mean over two seeds; filters in random order 47.3, 38.9, 15.3 and 13.7 %.
    When it misleads: with `rounds` few, channels that repeat each other are added in the same round; training after a
        round is what tells them apart. Classifiers at early layers know little.
    Source: Zhuang, Tan, Zhuang, Liu, Guo, Wu, Huang, Zhu, "Discrimination-aware channel pruning for deep neural
        networks", NeurIPS 2018.
    """

    unit: ClassVar[str] = "filter"
    needs: ClassVar[tuple[str, ...]] = ("weights", "network", "labels")
    tasks: ClassVar[tuple[str, ...]] = ("classification",)
    unfit: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("layers", "sparsify"), "it chooses what a weight reads of coupled channels"
    )

    rounds: int = setting(8, type="integer", low=1, help="How often channels are added; at most once each.")
    steps: int = setting(10, type="integer", low=0, help="Steps of training after each round.")
    lr: float = setting(0.05, type="number", low=0, open_low=True, help="Their size, relative to the weights'.")
    balance: float = setting(1.0, type="number", low=0, help="Weight of the classifiers' loss (λ).")
    samples: int = setting(128, type="integer", low=2, help="Training images, drawn once.")
    batch: int = setting(32, type="integer", low=1, help="Images of a step.")

    def score(self, evidence: Evidence) -> Mapping[str, Tensor]:
        """Group → the part of the joint loss that was left when each channel was chosen.

        Raises:
            Refusal: RCP1008: no training images.
        """
        from recipelang.measuring.discriminating import chosen

        return chosen(evidence, self)
