"""`twn`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from recipelang.catalogue import method, setting
from recipelang.kinds import Moment, Restriction
from recipelang.methods.quantizers._few import SMALLEST, Few, Levels, along, rows_of, straight, thirds, three

if TYPE_CHECKING:
    from torch import Tensor


@method("quantizer", "twn")
@dataclass(frozen=True)
class Twn(Few):
    """Ternary weights, -α, 0 and α; activations stay as they are.

    What: a filter keeps the signs of its large weights. Both numbers follow the latent weights in every step.
    Formula: Δ = 0.7 · mean |w|, α = mean of |w| over |w| ≥ Δ; w_t = α where w ≥ Δ, -α where w < -Δ, else 0: nearly the
        least ‖w - w_t‖² for weights of a normal or uniform distribution. Gradient: ∂L/∂w = ∂L/∂w_t.
    Shapes: a weight of C outputs → C×3 levels; with `per=tensor`, as in the paper, 3.
    Needs: no data for the levels; training afterwards (`finetune`, `train`). It has 2 bits, and `to` may be left out.
        The first and the last layer stay in floating point unless `in` names them.
    Masks: zero is a level, so masks stay.
    When it misleads: where weights are distributed otherwise, after strong pruning for example, 0.7 is not the best
        threshold; `ttq` learns its levels.
    Source: Li, Zhang, Liu 2016, "Ternary Weight Networks", equations 3 to 6.
    """

    parts: ClassVar[tuple[str, ...]] = ("weights",)
    bits: ClassVar[tuple[int, ...]] = (2,)
    keeps_zero: ClassVar[bool] = True

    threshold: float = setting(
        0.7, type="number", low=0, open_low=True, high=1, positional=True, help="Δ, in units of the mean of |w|."
    )
    per: str = setting("channel", type="word", choices=("channel", "tensor"), help="What has levels of its own.")

    def weight_levels(self, rows: Tensor, bits: int) -> Levels:
        """-α, 0 and α."""
        edge, level = self.edge_and_level(rows)
        return three(edge, level, level)

    def edge_and_level(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """C×N → Δ and α, (C,) each."""
        sizes = rows.abs()
        edge = (self.threshold * sizes.mean(1)).clamp_min(SMALLEST)
        large = sizes >= edge[:, None]
        return edge, ((sizes * large).sum(1) / large.sum(1).clamp_min(1)).clamp_min(SMALLEST)

    def weight(self, value: Tensor, one: Any, state: Any, moment: Moment) -> Tensor:
        """The ternary weight, straight-through."""
        edge, level = (along(x, value, one.axis) for x in self.edge_and_level(rows_of(value.detach(), one.axis)))
        return straight(thirds(value, edge, level, level), value)

    def finish(self, one: Any, state: Any, value: Tensor | None) -> Restriction:
        """The levels of the trained weights."""
        assert value is not None  # `parts`
        made: Restriction = self.refitted(one, value)
        return made
