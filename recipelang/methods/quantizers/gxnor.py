"""`gxnor`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from recipelang.catalogue import method, setting
from recipelang.kinds import Moment
from recipelang.lazy import torch
from recipelang.methods.quantizers._few import SMALLEST, Few, Levels, level_of, straight, thirds, three
from recipelang.methods.quantizers.twn import Twn

if TYPE_CHECKING:
    from torch import Tensor


@method("quantizer", "gxnor")
@dataclass(frozen=True)
class Gxnor(Few):
    """Ternary weights and inputs, and no latent weights: an update moves a weight from one state to another.

    What: gated XNOR network. A product of two zeros costs nothing, the others are XNORs. Training needs no weights in
        floating point: the update ΔW that the optimizer asks for happens with a probability.
    Formula: states -h, 0, h. With ρ = ΔW cut so that w + ρ stays from -h to h, κ = trunc(ρ/h), ν = ρ/h - κ:
        w ← w + h (κ + sign(ρ) · [u < tanh(m |ν|)]), u uniform in 0…1. Inputs: x_t = β sign(x) where |x| ≥ rβ, else 0;
        its derivative is taken as 1/(2a) where (r - a) β ≤ |x| ≤ (r + a) β, else 0. β and h are the mean of |x| and
        the level of `twn` when it is quantized; the paper has 1 for both: a BatchNorm absorbs the factors.
    Shapes: a weight of any shape → 3 levels; an input of a product → 3 levels.
    Needs: data for β; training afterwards (`finetune`, `train`) whose learning rate ends near zero: at a constant one
        weights keep jumping. It has 2 bits, and `to` may be left out. Inputs are read before a ReLU; sums stay in
        floating point, and so do the first and the last layer unless `in` names them.
    Masks: zero is a level, and a masked weight has no update, so masks stay.
    When it misleads: a short training with a large learning rate ends with noise in the weights.
    Source: Deng et al. 2018, "GXNOR-Net: Training deep neural networks with ternary weights and activations without
        full-precision memory under a unified discretization framework", equations 5 to 8 and 13 to 20.
    """

    bits: ClassVar[tuple[int, ...]] = (2,)
    keeps_zero: ClassVar[bool] = True
    per: ClassVar[str] = "tensor"

    sparsity: float = setting(0.5, type="number", low=0, help="r: inputs below r·β become zero.")
    pulse: float = setting(0.5, type="number", low=0, open_low=True, help="a: half the width of the derivative.")
    jump: float = setting(3.0, type="number", low=0, open_low=True, help="m: how readily small updates move a weight.")

    def weight_levels(self, rows: Tensor, bits: int) -> Levels:
        """-h, 0 and h, and the middles between them."""
        _, level = Twn().edge_and_level(rows)
        return three(level / 2, level, level)

    def input_levels(self, values: Tensor, bits: int) -> Levels:
        """-β, 0 and β."""
        level = values.abs().mean().clamp_min(SMALLEST)
        return three((self.sparsity * level).clamp_min(SMALLEST), level, level)

    def weight(self, value: Tensor, one: Any, state: Any, moment: Moment) -> Tensor:
        """The state of each weight, straight-through."""
        state.before = value.detach().clone()
        level = level_of(one, value)
        return straight(thirds(value, level / 2, level, level), value)

    def input(self, value: Tensor, one: Any, state: Any, moment: Moment) -> Tensor:
        """The ternary input, with the derivative of two rectangular pulses."""
        from recipelang.surgery.leveling import three as levels_of

        level, edge = level_of(one, value), one.edges[-1].to(value.device)
        inner, outer = (self.sparsity - self.pulse) * level, (self.sparsity + self.pulse) * level
        return levels_of(value, edge, level, inner, outer, 1 / (2 * self.pulse))

    def after_step(self, parameter: Any, one: Any, state: Any, moment: Moment, optimizer: Any) -> None:
        """The update of the optimizer, as transitions between states."""
        if parameter is None or not hasattr(state, "before"):
            return
        update, level = parameter - state.before, level_of(one, parameter)
        drawn = torch.rand_like(update)
        parameter.copy_(moved(thirds(state.before, level / 2, level, level), update, level, self.jump, drawn))


def moved(states: Tensor, update: Tensor, level: Tensor, jump: float, drawn: Tensor) -> Tensor:
    """The states after a discrete transition.

    Args:
        states: -level, 0 or level.
        update: ΔW, of the same shape.
        level: h, also the distance of two states.
        jump: m.
        drawn: uniform in 0…1, of the same shape.
    """
    wanted = torch.maximum(torch.minimum(update, level - states), -level - states) / level
    whole = wanted.trunc()
    jumps = (drawn < torch.tanh(jump * (wanted - whole).abs())).to(states.dtype)
    return ((states / level).round() + whole + wanted.sign() * jumps).clamp(-1, 1) * level
