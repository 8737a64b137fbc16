"""`sparsegpt(damp=0.01, block=128)`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipelang.catalogue import method, setting
from recipelang.kinds import Evidence
from recipelang.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


@method("criterion", "sparsegpt")
@dataclass(frozen=True)
class SparseGPT:
    """How much a layer's outputs change when a weight is removed and the others compensate as well as they can.

    Formula: element w_j² / [H⁻¹]_jj, H = 2·XᵀX / rows + damp · mean(diag) of the rows X that enter the weight (optimal
        brain surgeon); filters sum it, layers take the mean over their filters.
    Coupled filters: the sum over all weights that make the channel, in all coupled layers, divided by the mean of its
        group: ResNet-20 for CIFAR-10 (80.6 % of 1,000 test images) has 59.9 and 26.8 % at 0.8 and 0.6 of its FLOPs,
        without tuning (256 training images), and 55.0 and 14.8 % with sums as they are.
    `sparsify`: the weights change, too. Columns are processed from left to right; of each group of m the n with the
        largest w_j² / [H_R⁻¹]_jj are kept, R the remaining columns, which compensate for the weights removed:
        w_R ← w_R − w_j · [H_R⁻¹]_jR / [H_R⁻¹]_jj. Layers are processed in order of execution, each with inputs from the
        network as sparsified so far.
    Shapes: a weight is a matrix N×K, K = I or kh·kw·I; H K×K, one at a time in memory.
    Needs: one pass over the training images for each weight, up to that weight, without labels; so write
        `on train(samples=512)`. Memory for about 30·K² bytes: 0.6 GB for 4,608 inputs, 19 GB for the 25,088 of the
        first linear layer of a VGG, which `except` can leave dense.
    Measured: ResNet-56 for CIFAR-10 (90.4 % of the 10,000 test images), immediately after 2:4 with 512 training images:
        `sparsegpt` 88.3 %, `wanda` 77.2 %, `magnitude` 73.0 %, `taylor` 50.6 %.
    When it misleads: with fewer rows than inputs H is mostly damping. The outputs of each layer are preserved, not the
        loss; its gain shrinks with a long fine-tuning. When whole layers are ranked, nothing is corrected.
    Weights that no input reaches have no score and stay dense.
    Source: Frantar, Alistarh, "SparseGPT: massive language models can be accurately pruned in one-shot", ICML 2023,
        algorithm 1.
    """

    unit: ClassVar[str] = "element"
    needs: ClassVar[tuple[str, ...]] = ("weights", "activations")
    relative: ClassVar[bool] = True

    damp: float = setting(
        0.01, type="number", low=0, open_low=True, high=1, help="Added to the diagonal of H, as a share of its mean."
    )
    block: int = setting(
        128, type="integer", low=1, help="Columns whose corrections are applied together; no effect on the result."
    )

    def score(self, evidence: Evidence) -> Mapping[str, Tensor]:
        """Parameter name → w² / [H⁻¹]_jj, the shape of the weight; 0 where an input is always 0.

        Raises:
            Refusal: RCP1008: no training images; RCP1010: an input is not a finite number; RCP1011: H is singular.
        """
        scores = {}
        for name, moments in evidence.second_moments(evidence.weights):
            weight = evidence.weights[name].detach()
            dead = moments.diagonal(dim1=-2, dim2=-1) == 0
            inverse = torch.cholesky_inverse(self._factor(moments)).diagonal(dim1=-2, dim2=-1)
            worth = inverse.reciprocal().masked_fill(dead, 0)  # G×K, K in the order kernel…, I
            groups, kernel = len(worth), weight.shape[2:]
            worth = worth.unflatten(1, (*kernel, weight.shape[1])).movedim(-1, 1).to(weight.dtype)
            scores[name] = weight**2 * worth.repeat_interleave(len(weight) // groups, 0)
        return scores

    def solve(self, weight: Tensor, moments: Tensor, n: int, m: int) -> tuple[Tensor, Tensor]:
        """The n:m mask of a weight matrix N×K and its corrected values (algorithm 1 of the paper).

        Args:
            weight: N×K, a multiple of m columns.
            moments: K×K, 2/rows · XᵀX of what enters it.
            n, m: of every m columns of a row, n are kept.

        Raises:
            Refusal: RCP0704: a weight is NaN; RCP1011: H is singular.
        """
        from recipelang.kernels.nm.reference import nm_mask
        from recipelang.measuring.surgeon import columnwise, upper_of

        dead = moments.diagonal() == 0
        rest = weight.double().masked_fill(dead, 0)
        keep = torch.zeros_like(weight, dtype=torch.bool)
        size = max(m, self.block // m * m)

        def decide(column: int, left: Tensor, scales: Tensor) -> Tensor:
            if column % m == 0:
                keep[:, column : column + m] = nm_mask((left[:, :m] / scales[:m]) ** 2, n, m)
            return left[:, 0].masked_fill(~keep[:, column], 0)

        rest = columnwise(rest, upper_of(moments, self.damp, "sparsegpt"), decide, size)
        return keep, rest.masked_fill(~keep, 0).to(weight.dtype)

    def _factor(self, moments: Tensor) -> Tensor:
        from recipelang.measuring.surgeon import damped_factor

        return damped_factor(moments, self.damp, "sparsegpt")
