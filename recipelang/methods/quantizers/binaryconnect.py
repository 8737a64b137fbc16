"""`binaryconnect`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from recipelang.catalogue import method, setting
from recipelang.kinds import Moment
from recipelang.lazy import torch
from recipelang.methods.quantizers._few import Binary, level_of, signs, straight

if TYPE_CHECKING:
    from torch import Tensor


@method("quantizer", "binaryconnect")
@dataclass(frozen=True)
class BinaryConnect(Binary):
    """Weights of one bit, ±h, the same h for a whole layer; activations stay as they are.

    What: products compute with signs, updates move latent weights in floating point, which are kept from -h to h.
    Formula: deterministic: w_b = h where w ≥ 0, else -h. Stochastic: w_b = h with probability clip((w/h + 1)/2, 0, 1)
        in every step of training, else -h; evaluation takes the sign. Gradient: ∂L/∂w = ∂L/∂w_b; after each update
        w = clip(w, -h, h). h is the mean of |w| of the layer when it is quantized; the paper has 1, and its code a
        coefficient for each layer: a BatchNorm after the layer absorbs the factor.
    Shapes: a weight of any shape → 2 levels.
    Needs: no data for the levels; training afterwards (`finetune`, `train`), best by `adam`. The first and the last
        layer stay in floating point unless `in` names them.
    Masks: there is no zero among the levels, so masked weights are refused.
    When it misleads: before training the answers say little; one level for a layer ignores that its filters differ in
        scale, which `bwn` does not. Stochastic training is noisy, and takes longer.
    Source: Courbariaux, Bengio, David 2015, "BinaryConnect: Training Deep Neural Networks with binary weights during
        propagations", equations 1 to 3 and algorithm 1.
    """

    parts: ClassVar[tuple[str, ...]] = ("weights",)
    per: ClassVar[str] = "tensor"

    stochastic: bool = setting(False, type="boolean", positional=True, help="Draw the signs in training.")

    def weight(self, value: Tensor, one: Any, state: Any, moment: Moment) -> Tensor:
        """The signs, or drawn ones, times h."""
        level = level_of(one, value)
        if not self.stochastic:
            return straight(signs(value, level), value)
        drawn = torch.rand_like(value.detach())
        return straight(torch.where(drawn < likely(value, level), level, -level), value)

    def after_step(self, parameter: Any, one: Any, state: Any, moment: Moment, optimizer: Any) -> None:
        """Latent weights stay from -h to h."""
        level = level_of(one, parameter)
        parameter.clamp_(-level, level)


def likely(value: Tensor, level: Tensor) -> Tensor:
    """The probability of the positive level: the hard sigmoid of w/h."""
    return ((value.detach() / level + 1) / 2).clamp(0, 1)
