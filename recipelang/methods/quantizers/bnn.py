"""`bnn`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from recipelang.catalogue import method
from recipelang.kinds import Moment
from recipelang.methods.quantizers._few import (
    Binary,
    Levels,
    input_signs,
    level_of,
    signs,
    straight,
    two_of_inputs,
    windowed,
)

if TYPE_CHECKING:
    from torch import Tensor


@method("quantizer", "bnn")
@dataclass(frozen=True)
class Bnn(Binary):
    """Weights and inputs of one bit: what products multiply are signs.

    What: the binarized neural network, deterministic. A product of signs is an XNOR and a count of bits.
    Formula: w_b = h where w ≥ 0, else -h; x_b = β where x > 0, else -β. Gradients: ∂L/∂w = ∂L/∂w_b · 1{|w| ≤ h},
        ∂L/∂x = ∂L/∂x_b · 1{|x| ≤ β} (the hard tanh); after each update w = clip(w, -h, h). h is the mean of |w| of
        the layer and β that of |x| when it is quantized; the paper has 1 for both: a BatchNorm absorbs the factors.
    Shapes: a weight of any shape → 2 levels; an input of a product → 2 levels.
    Needs: data for β; training afterwards (`finetune`, `train`), best by `adam` with a small learning rate. What a
        product reads through a ReLU is what the ReLU reads: with the ReLU's answer the sign would have no gradient
        below zero. Sums (residual connections) stay in floating point, and so do the first and the last layer unless
        `in` names them.
    Masks: there is no zero among the levels, so masked weights are refused.
    When it misleads: before training the answers say little. What is never negative, such as the output of a pooling
        after a ReLU, has signs that say whether it is zero.
    Source: Courbariaux et al. 2016, "Binarized Neural Networks: Training Neural Networks with Weights and Activations
        Constrained to +1 or -1", equations 1 and 4 and algorithm 1.
    """

    per: ClassVar[str] = "tensor"

    def input_levels(self, values: Tensor, bits: int) -> Levels:
        """±β."""
        return two_of_inputs(values)

    def weight(self, value: Tensor, one: Any, state: Any, moment: Moment) -> Tensor:
        """h sign(w), with the gradient of the hard tanh."""
        level = level_of(one, value)
        return straight(signs(value, level), windowed(value, level))

    def input(self, value: Tensor, one: Any, state: Any, moment: Moment) -> Tensor:
        """β sign(x), with the gradient of the hard tanh."""
        return input_signs(value, level_of(one, value))

    def after_step(self, parameter: Any, one: Any, state: Any, moment: Moment, optimizer: Any) -> None:
        """Latent weights stay from -h to h."""
        if parameter is not None:
            level = level_of(one, parameter)
            parameter.clamp_(-level, level)
