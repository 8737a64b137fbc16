"""`abc`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from recipelang.catalogue import method, setting
from recipelang.kinds import Moment, Restriction
from recipelang.lazy import torch
from recipelang.methods.quantizers._few import (
    ABOVE_ZERO,
    SMALLEST,
    Few,
    Levels,
    along,
    releveled,
    straight,
)

if TYPE_CHECKING:
    from torch import Tensor


@method("quantizer", "abc")
@dataclass(frozen=True)
class Abc(Few):
    """A weight is a sum of several binary ones, each with a scale, and so is an input.

    What: `to 3 bits` gives weights three binary bases and inputs three binary activations: what `xnor` computes once
        is computed 3 × 3 times and added. The bases of a weight follow the latent weights in every step; edges and
        scales of an input are trained.
    Formula: M bases B_m = sign(w - mean w + u_m std w), u_m evenly from -1 to 1 (0 where M = 1); α minimises
        ‖w - Σ α_m B_m‖² (linear regression, α ≥ 0); w_b = Σ α_m B_m. Gradient: ∂L/∂w = Σ_m α_m · ∂L/∂w_b. Inputs:
        x_b = Σ β_n A_n, A_n = 1 where x ≥ e_n, else -1; ∂A_n/∂x = 1/s where |x - e_n| ≤ s/2, else 0, s = Σ β when
        training begins; β and e are trained.
    Shapes: the bases differ by a shift alone, so that M of them have M + 1 values: a weight of C outputs → C × (M + 1)
        levels; an input → M + 1. Size counts the codes of these levels, ⌈log2(M + 1)⌉ bits, where M separate bases
        would take M.
    Needs: data for inputs; training afterwards (`finetune`, `train`). Inputs are read before a ReLU; sums stay in
        floating point, and so do the first and the last layer unless `in` names them.
    Masks: zero is not a level, so masked weights are refused.
    When it misleads: three bases cost nine binary products: compare it with `to 2 bits` of a grid as well. A training
        step takes about 0.3 of a plain one more for each binary activation.
    Source: Lin, Zhao, Pan 2017, "Towards Accurate Binary Convolutional Neural Network", equations 1 to 9.
    """

    bits: ClassVar[tuple[int, ...]] = (1, 2, 3, 4, 5, 6, 7, 8)

    per: str = setting("channel", type="word", choices=("channel", "tensor"), help="What has bases of its own.")

    def weight_levels(self, rows: Tensor, bits: int) -> Levels:
        """The sums of the bases: from all negative to all positive."""
        mean, std = rows.mean(1, keepdim=True), rows.std(1, correction=0, keepdim=True)
        edges = mean + shifts(bits).to(rows) * std  # of bases in the order in which they turn positive
        return sums(scales(rows, edges)), edges

    def input_levels(self, values: Tensor, bits: int) -> Levels:
        """Edges evenly around zero, up to the mean of |x|, and the scales of the regression."""
        edges = shifts(bits).to(values) * values.abs().mean().clamp_min(SMALLEST)
        edges = torch.where(edges == 0, torch.full_like(edges, ABOVE_ZERO), edges)
        return sums(scales(values[None], edges[None]))[0], edges

    def begin(self, one: Any, value: Tensor | None) -> Any:
        """Scales and edges of an input, trained along."""
        state: Any = super().begin(one, value)
        if value is None:
            state.scales = torch.nn.Parameter(one.levels.diff() / 2)
            state.edges = torch.nn.Parameter(one.edges.clone())
            state.register_buffer("width", one.levels[-1].clone())
        return state

    def weight(self, value: Tensor, one: Any, state: Any, moment: Moment) -> Tensor:
        """The sum of the bases, with the sum of their gradients."""
        now = self.refitted(one, value)
        return straight(now.apply(value.detach()), along(now.levels[..., -1], value, one.axis) * value)

    def input(self, value: Tensor, one: Any, state: Any, moment: Moment) -> Tensor:
        """The sum of the binary activations."""
        from recipelang.surgery.leveling import several

        return several(value, state.edges, state.scales, state.width)

    def after_step(self, parameter: Any, one: Any, state: Any, moment: Moment, optimizer: Any) -> None:
        """Scales of an input stay positive."""
        if parameter is None:
            state.scales.clamp_(min=SMALLEST)

    def finish(self, one: Any, state: Any, value: Tensor | None) -> Restriction:
        """The levels of the trained bases."""
        if value is not None:
            made: Restriction = self.refitted(one, value)
            return made
        edges, order = state.edges.detach().sort()
        made = releveled(one, (sums(state.scales.detach()[order][None]), edges[None]))
        return made


def shifts(bases: int) -> Tensor:
    """u: evenly from -1 to 1; 0 for a single base."""
    return torch.linspace(-1, 1, bases) if bases > 1 else torch.zeros(1)


def scales(rows: Tensor, edges: Tensor) -> Tensor:
    """α of the bases that turn positive at these edges, C×M: the linear regression of C×N rows, not negative."""
    bases = _plus_minus(rows[:, None, :] >= edges[:, :, None])
    gram = bases @ bases.transpose(1, 2)
    found = torch.linalg.pinv(gram.double(), hermitian=True) @ (bases.double() @ rows.double()[:, :, None])
    return found[:, :, 0].to(rows.dtype).clamp_min(SMALLEST)


def sums(scales: Tensor) -> Tensor:
    """C×M scales in the order of their edges → C×(M+1) sums, from all bases negative to all positive."""
    total = scales.sum(1, keepdim=True)
    steps = torch.cat((torch.zeros_like(total), 2 * scales.cumsum(1)), 1)
    levels = steps - total
    return torch.cat((levels[:, :-1], total), 1)


def _plus_minus(above: Tensor) -> Tensor:
    return above.to(torch.float32) * 2 - 1
