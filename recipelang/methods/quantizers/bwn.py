"""`bwn`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from recipelang.catalogue import method, setting
from recipelang.kinds import Moment, Restriction
from recipelang.methods.quantizers._few import Binary, along, mean_size, rows_of, signs, straight, windowed

if TYPE_CHECKING:
    from torch import Tensor


@method("quantizer", "bwn")
@dataclass(frozen=True)
class Bwn(Binary):
    """Weights of one bit with a scale for each filter, ±α; activations stay as they are.

    What: the binary weight network of XNOR-Net's paper. The scale follows the latent weights in every step.
    Formula: w_b = α sign(w), α = mean |w| of the filter, which minimises ‖w - α sign(w)‖². Gradient:
        ∂L/∂w_i = ∂L/∂w_b,i · (1/n + α · 1{|w_i| ≤ 1}), n weights in a filter.
    Shapes: a weight of C outputs → C×2 levels; with `per=tensor` 2.
    Needs: no data for the levels; training afterwards (`finetune`, `train`). The gradient is as small as the weights:
        `adam`, which divides it by its size, learns where `sgd` hardly moves. The first and the last layer stay in
        floating point unless `in` names them.
    Masks: there is no zero among the levels, so masked weights are refused; `twn` has one.
    When it misleads: it says nothing of activations, and what is executed is faster only where additions are cheaper
        than multiplications.
    Source: Rastegari et al. 2016, "XNOR-Net: ImageNet Classification Using Binary Convolutional Neural Networks",
        section 3.1 and algorithm 1.
    """

    parts: ClassVar[tuple[str, ...]] = ("weights",)

    per: str = setting("channel", type="word", choices=("channel", "tensor"), help="What has a scale of its own.")

    def weight(self, value: Tensor, one: Any, state: Any, moment: Moment) -> Tensor:
        """α sign(w), with the gradient 1/n + α · 1{|w| ≤ 1}."""
        rows = rows_of(value.detach(), one.axis)
        level = along(mean_size(rows), value, one.axis)
        window = windowed(value, level.new_ones(()))
        return straight(signs(value, level), value / rows.shape[1] + level * window)

    def finish(self, one: Any, state: Any, value: Tensor | None) -> Restriction:
        """The levels of the trained weights; an input's are those that training computed with."""
        made: Restriction = one if value is None else self.refitted(one, value)
        return made
