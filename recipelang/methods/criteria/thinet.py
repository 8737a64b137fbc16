"""`thinet`, `thinet(fit=weights)`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipelang.catalogue import method, setting
from recipelang.kinds import Evidence
from recipelang.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


@method("criterion", "thinet")
@dataclass(frozen=True)
class ThiNet:
    """How little the next layer's outputs change without a channel, given the channels that are removed before it.

    Formula: greedily, T ← T ∪ {argmin_j Σ (Σ_{i ∈ T ∪ {j}} z_i)²}, z_i what channel i adds to an output of the next
        layer (Eq 6), summed over all outputs and positions of all images; the paper draws a sample of them. The score
        of a channel is the squared error when it is the last one removed, relative to the energy of the outputs, so a
        ranking of all groups removes up to one relative error everywhere. Errors may cancel, so that a later set is
        better than an earlier one; scores then stay at the larger error, and their order is that of removal.
    Corrects: the columns of each remaining channel in the next layer are multiplied by a factor, chosen by least
        squares so that the outputs are as near as possible to what they were (Eq 7), in each next layer and over all
        groups that it reads: f_S = 1 + (Q_SS + δI)⁻¹ Q_ST 1, Q_ij = ⟨z_i, z_j⟩. δ pulls the factors to 1, so the error
        of the outputs is never above that without a correction. `fit=weights` chooses all weights of the next layers,
        as `lasso` does.
    Coupled channels: several next layers count equally, each by its relative error. Depthwise convolutions and whole
        groups of grouped ones belong to the channel itself; the channel of a flatten has a column for every position.
    Shapes: N channels, c columns of every next layer each; Q N×N.
    Needs: one pass over the training images for the scores and another for each correction, without labels;
        `on train(samples=1024)` is enough. Memory for K² numbers of the K = kh·kw·I inputs of a next layer, or
        for 1,024 of its rows where K is above 8,192.
    Does not apply: what is read only by transposed convolutions, recurrent cells or weights computed from parameters
        stays whole; weights with masks or grids are not corrected.
    Measured: ResNet-56 for CIFAR-10 (91.1 % of 1,000 test images) has 87.0, 84.6 and 69.7 % at 0.8, 0.7 and 0.6 of its
        FLOPs, without tuning (510 training images); without the correction 85.1, 80.2 and 56.6 %. At 0.7 and 0.5,
        `fit=weights` has 89.5 and 82.1 %, factors 84.6 and 38.9 %.
    When it misleads: the next layer's outputs are what counts, not the loss, and inputs of later layers change with
        what was removed before them, which a correction does not know.
    Source: Luo, Wu, Lin, "ThiNet: a filter level pruning method for deep neural network compression", ICCV 2017.
    """

    unit: ClassVar[str] = "filter"
    needs: ClassVar[tuple[str, ...]] = ("weights", "activations")
    unfit: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("layers", "sparsify"), "it removes channels from the layer that reads them"
    )

    fit: str = setting(
        "factors",
        type="word",
        choices=("factors", "weights"),
        help="What is corrected: a factor for each channel, or all weights that read it.",
    )
    damp: float = setting(
        1e-3,
        type="number",
        low=0,
        open_low=True,
        high=1,
        help="How strongly factors are kept near 1 and weights near what they were, as a share of the mean energy.",
    )

    def score(self, evidence: Evidence) -> Mapping[str, Tensor]:
        """Group → N relative errors, in the order in which channels would be removed.

        Raises:
            Refusal: RCP1008: no training images; RCP1010: an input is not a finite number.
        """
        from recipelang.measuring.reconstructing import contributions

        return {group: _errors(found.products) for group, found in contributions(evidence).items()}

    def compensate(self, evidence: Evidence, gone: Mapping[str, Sequence[int]]) -> Mapping[str, Tensor]:
        """Weight → its values with a factor for every channel that stays, or by least squares.

        Raises:
            Refusal: as `score`.
        """
        from recipelang.measuring.reconstructing import reconstructed, rescaled

        return (rescaled if self.fit == "factors" else reconstructed)(evidence, gone, self.damp)


def _errors(products: Tensor) -> Tensor:
    """N×N ⟨z_i, z_j⟩ → N: the squared error of the greedy set that ends with each channel."""
    alone, shared = products.diagonal().clone(), torch.zeros_like(products[0])
    scores = torch.zeros_like(alone)
    error = last = 0.0
    for _ in range(len(alone)):
        part = int((alone + 2 * shared).argmin())
        error += float(alone[part] + 2 * shared[part])
        last = scores[part] = max(error, last * (1 + 1e-9), last + 1e-12)
        shared += products[part]
        alone[part] = torch.inf
    return scores
