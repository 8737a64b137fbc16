"""`xnor`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from recipelang.catalogue import method, setting
from recipelang.kinds import Moment, Restriction
from recipelang.methods.quantizers._few import (
    Few,
    Levels,
    input_signs,
    mean_size,
    straight,
    two,
    two_of_inputs,
    windowed,
)
from recipelang.methods.quantizers.bwn import scaled_signs

if TYPE_CHECKING:
    from torch import Tensor


@method("quantizer", "xnor")
@dataclass(frozen=True)
class Xnor(Few):
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

    per: str = setting("channel", type="word", choices=("channel", "tensor"), help="What has a scale of its own.")

    def weight_levels(self, rows: Tensor, bits: int) -> Levels:
        """±α."""
        return two(mean_size(rows))

    def input_levels(self, values: Tensor, bits: int) -> Levels:
        """±β."""
        return two_of_inputs(values)

    def weight(self, value: Tensor, one: Any, state: Any, moment: Moment) -> Tensor:
        """α sign(w), with the gradient of the paper."""
        return scaled_signs(value, one.axis)

    def input(self, value: Tensor, one: Any, state: Any, moment: Moment) -> Tensor:
        """β sign(x), with the gradient of the hard tanh."""
        level = one.levels[-1].to(value.device)
        return straight(input_signs(value, level), windowed(value, level))

    def finish(self, one: Any, state: Any, value: Tensor | None) -> Restriction:
        """The levels of the trained weights; an input's are those that training computed with."""
        return one if value is None else self.refitted(one, value)
