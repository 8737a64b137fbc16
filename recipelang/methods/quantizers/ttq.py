"""`ttq`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from recipelang.catalogue import method, setting
from recipelang.kinds import Moment, Restriction
from recipelang.lazy import torch
from recipelang.methods.quantizers._few import SMALLEST, Few, Levels, along, releveled, rows_of, straight, thirds, three

if TYPE_CHECKING:
    from torch import Tensor


@method("quantizer", "ttq")
@dataclass(frozen=True)
class Ttq(Few):
    """Ternary weights with two trained scales, -Wn, 0 and Wp; activations stay as they are.

    What: the loss decides both levels, while the latent weights decide which of them a weight has.
    Formula: Δ = 0.05 · max |w|; w_t = Wp where w ≥ Δ, -Wn where w < -Δ, else 0. Gradients: ∂L/∂Wp = Σ ∂L/∂w_t over the
        weights that have Wp; ∂L/∂Wn = -Σ ∂L/∂w_t over those that have -Wn (the paper prints it without the sign);
        ∂L/∂w = Wp ∂L/∂w_t, ∂L/∂w_t or Wn ∂L/∂w_t where w has Wp, 0 or -Wn. Both scales start as the mean of |w| of
        their weights, stay positive and do not decay.
    Shapes: a weight of any shape → 3 levels, or C×3 with `per=channel`.
    Needs: no data for the levels; training afterwards (`finetune`, `train`). It has 2 bits, and `to` may be left out.
        The first and the last layer stay in floating point unless `in` names them.
    Masks: zero is a level, so masks stay.
    When it misleads: the largest weight alone decides Δ, so one outlier makes a layer sparse. The gradient of a weight
        that is not zero is as small as its level: `adam` learns where `sgd` is slow.
    Source: Zhu et al. 2017, "Trained Ternary Quantization", equations 6 to 9.
    """

    parts: ClassVar[tuple[str, ...]] = ("weights",)
    bits: ClassVar[tuple[int, ...]] = (2,)
    keeps_zero: ClassVar[bool] = True

    threshold: float = setting(
        0.05, type="number", low=0, open_low=True, high=1, positional=True, help="Δ, in units of the largest |w|."
    )
    per: str = setting("tensor", type="word", choices=("channel", "tensor"), help="What has levels of its own.")

    def edge(self, rows: Tensor) -> Tensor:
        """C×N → Δ, (C,)."""
        return (self.threshold * rows.abs().amax(1)).clamp_min(SMALLEST)

    def weight_levels(self, rows: Tensor, bits: int) -> Levels:
        """The levels with which training begins."""
        edge = self.edge(rows)
        above, below = rows >= edge[:, None], rows < -edge[:, None]
        up, down = (
            ((rows.abs() * where).sum(1) / where.sum(1).clamp_min(1)).clamp_min(SMALLEST) for where in (above, below)
        )
        return three(edge, up, down)

    def begin(self, one: Any, value: Tensor | None) -> Any:
        """Wp and Wn, trained along."""
        state: Any = super().begin(one, value)
        levels = one.levels.reshape(-1, 3)
        state.up = torch.nn.Parameter(levels[:, 2].clone())
        state.down = torch.nn.Parameter(-levels[:, 0].clone())
        return state

    def weight(self, value: Tensor, one: Any, state: Any, moment: Moment) -> Tensor:
        """The ternary weight, with the gradients of both scales and the scaled one of the latent weight."""
        edge = along(self.edge(rows_of(value.detach(), one.axis)), value, one.axis)
        up, down = along(state.up, value, one.axis), along(state.down, value, one.axis)
        levels = thirds(value, edge, up, down)
        slope = thirds(value, edge, up, -down).detach()  # Wp, 0 or Wn
        slope = torch.where((value >= edge) | (value < -edge), slope, torch.ones_like(slope))
        return levels + straight(torch.zeros_like(levels), slope * value)

    def after_step(self, parameter: Any, one: Any, state: Any, moment: Moment, optimizer: Any) -> None:
        """Both scales stay positive."""
        state.up.clamp_(min=SMALLEST)
        state.down.clamp_(min=SMALLEST)

    def finish(self, one: Any, state: Any, value: Tensor | None) -> Restriction:
        """The trained levels, with the edges of the trained weights."""
        assert value is not None  # `parts`
        edge = self.edge(rows_of(value.detach().float(), one.axis))
        made: Restriction = releveled(one, three(edge, state.up, state.down))
        return made
