"""`gptq(damp=0.01, order=columns, block=128)`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from recipelang.catalogue import method, setting
from recipelang.kinds import LAYER, Piece, Progress, Rounded, as_matrices, as_weight, nearest
from recipelang.lazy import torch
from recipelang.methods.rounders._uniform import limits_of, on_grid, step_of

if TYPE_CHECKING:
    from torch import Tensor


@method("rounder", "gptq")
@dataclass(frozen=True)
class GPTQ:
    """Columns become the nearest numbers one after another, and those that are left make up for the error.

    What: second-order rounding: no training, one Cholesky factor for each weight, for networks of any size.
    Formula: min over Ŵ on the grid of ‖W X - Ŵ X‖², column by column: q_j = nearest(w_j), then
        w_R ← w_R - (w_j - q_j) · [H_R⁻¹]_jR / [H_R⁻¹]_jj for the columns R that are left; H = 2·XᵀX / rows + damp ·
        mean(diag).
    Shapes: a weight is a matrix N×K, K = I or kh·kw·I; H K×K for each group of a convolution, one weight at a time.
    Needs: `on train(samples=512)`, without labels; one pass for each weight, up to that weight, and a uniform grid.
        Memory for about 30·K² bytes.
    When it misleads: with fewer rows than inputs H is mostly damping. Each layer keeps its outputs, not the loss.
    Source: Frantar et al., "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers", ICLR
        2023, algorithm 1; the order by the diagonal from its code (`act-order`).
    """

    looks_at_data: ClassVar[bool] = True
    uniform: ClassVar[bool] = True
    unit: ClassVar[str] = LAYER

    damp: float = setting(
        0.01, type="number", low=0, open_low=True, high=1, help="Added to the diagonal of H, as a share of its mean."
    )
    order: str = setting(
        "columns",
        type="word",
        choices=("columns", "energy"),
        help="Of the columns: as they are, or those with the largest inputs first.",
    )
    block: int = setting(
        128, type="integer", low=1, help="Columns whose corrections are applied together; no effect on the result."
    )

    def round(self, piece: Piece, progress: Progress) -> Rounded:
        """The columns' numbers; the nearest ones of a weight whose inputs are not observed.

        Raises:
            Refusal: RCP1011: H is singular. RCP1010: an input is not a finite number.
        """
        steps, left = {}, {}
        for name, weight in piece.weights.items():
            moments = piece.moments(name)
            if moments is None:
                left[name] = "its inputs are not observed"
                continue
            progress.start(f"rounding `{name}`", len(moments))
            try:
                steps[name] = self._solved(piece, name, weight, moments, progress)
            finally:
                progress.stop()
        return Rounded({**nearest(piece), **on_grid(piece, steps)}, left=left)

    def _solved(self, piece: Piece, name: str, weight: Tensor, moments: Tensor, progress: Progress) -> Tensor:
        """Whole steps from zero, of the weight's shape."""
        grid: Any = piece.grids[name]
        groups = len(moments)
        like = torch.ones_like(weight)
        low, high = limits_of(grid, weight)
        parts = [as_matrices(each * like, groups) for each in (weight, step_of(grid, weight), low, high)]
        keep = as_matrices(piece.keep.get(name, like.bool()), groups)
        found = []
        for number in range(groups):
            matrix, step, least, most = (part[number].double() for part in parts)
            found.append(self._matrix(matrix, step, least, most, keep[number], moments[number]))
            progress.advance()
        return as_weight(torch.stack(found), weight)

    def _matrix(self, weight: Tensor, step: Tensor, low: Tensor, high: Tensor, keep: Tensor, moments: Tensor) -> Tensor:
        """Whole steps of a matrix N×K, float64."""
        from recipelang.measuring.surgeon import columnwise, upper_of

        energy = moments.diagonal()
        order = energy.argsort(descending=True, stable=True) if self.order == "energy" else torch.arange(len(energy))
        step, low, high, keep = (each[:, order] for each in (step, low, high, keep))
        whole = torch.zeros_like(weight)

        def decide(column: int, left: Tensor, scales: Tensor) -> Tensor:
            value = left[:, 0] / step[:, column]
            whole[:, column] = value.round().clamp(low[:, column], high[:, column]) * keep[:, column]
            return whole[:, column] * step[:, column]

        upper = upper_of(moments[order][:, order], self.damp, "gptq")
        columnwise(weight[:, order].clone(), upper, decide, self.block)
        return whole[:, order.argsort()]
