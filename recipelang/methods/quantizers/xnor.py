"""`xnor`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from recipelang.catalogue import method
from recipelang.kinds import QUANTIZED, Moment
from recipelang.methods.quantizers._few import Levels, input_signs, level_of, two_of_inputs
from recipelang.methods.quantizers.bwn import Bwn

if TYPE_CHECKING:
    from torch import Tensor


@method("quantizer", "xnor")
@dataclass(frozen=True)
class Xnor(Bwn):
    """Weights and inputs of one bit, the weights with a scale for each filter.

    What: XNOR-Net. The difference from `bnn` is the scale of each filter, which follows the latent weights.
    Formula: w_b = α sign(w), α = mean |w| of the filter; x_b = β where x > 0, else -β. Gradients:
        ∂L/∂w_i = ∂L/∂w_b,i · (1/n + α · 1{|w_i| ≤ 1}), ∂L/∂x = ∂L/∂x_b · 1{|x| ≤ β}. β is the mean of |x| when it is
        quantized. The paper's map K, a scale for each window of the input, is left out, as in the authors' own code:
        no codebook holds it.
    Shapes: a weight of C outputs → C×2 levels; an input of a product → 2 levels.
    Needs: data for β; training afterwards (`finetune`, `train`), best by `adam`. Inputs are read before a ReLU; sums
        (residual connections) stay in floating point, and so do the first and the last layer unless `in` names them.
    Masks: there is no zero among the levels, so masked weights are refused.
    When it misleads: as `bnn`; and what a runtime gains needs kernels for bits, which none here has.
    Source: Rastegari et al. 2016, "XNOR-Net: ImageNet Classification Using Binary Convolutional Neural Networks",
        sections 3.1 and 3.2 and algorithm 1.
    """

    parts: ClassVar[tuple[str, ...]] = QUANTIZED

    def input_levels(self, values: Tensor, bits: int) -> Levels:
        """±β."""
        return two_of_inputs(values)

    def input(self, value: Tensor, one: Any, state: Any, moment: Moment) -> Tensor:
        """β sign(x), with the gradient of the hard tanh."""
        return input_signs(value, level_of(one, value))
