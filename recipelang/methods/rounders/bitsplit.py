"""`bitsplit(rounds=4)`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from recipelang.catalogue import method, setting
from recipelang.kinds import LAYER, Piece, Progress, Rounded, as_matrices, as_weight, nearest
from recipelang.lazy import torch
from recipelang.methods.rounders._uniform import on_grid, step_of, zero_of

if TYPE_CHECKING:
    from torch import Tensor


@method("rounder", "bitsplit")
@dataclass(frozen=True)
class BitSplit:
    """Integers are split into bits, each of which is optimised while the others stay; then they are stitched together.

    What: no training: a few rounds of closed forms on what enters the weight.
    Formula: min over α and t of ‖(W - α s q) X‖², q = Σ_m 2^m t_m with t_m in {-1, 0, 1}, m = 0 … bits - 2. In turn,
        α = (sq) H Wᵀ / (sq) H (sq)ᵀ of each row (of all rows where they share a scale), and each number of each t_m,
        from the highest bit down, the best of the three. H = 2·XᵀX / rows. No turn makes the error larger.
    Shapes: W, q, t_m: N×K for each group of a convolution, K = I or kh·kw·I; H K×K.
    Needs: `on train(samples=512)`, without labels; one pass for each weight, up to that weight, and symmetric grids.
    When it misleads: it minimises the error of the sampled rows alone, so it overfits few of them. Turns end
        in a local minimum.
    Source: Wang et al., "Towards Accurate Post-training Network Quantization via Bit-Split and Stitching", ICML 2020,
        equations 5 to 12.
    """

    looks_at_data: ClassVar[bool] = True
    uniform: ClassVar[bool] = True
    unit: ClassVar[str] = LAYER

    rounds: int = setting(4, type="integer", low=1, positional=True, help="Rounds over α and all bits.")

    def round(self, piece: Piece, progress: Progress) -> Rounded:
        """The stitched integers on grids scaled by α; the nearest numbers where a weight cannot be split.

        Raises:
            Refusal: RCP1010: an input is not a finite number.
        """
        steps: dict[str, Tensor] = {}
        grids: dict[str, Any] = {}
        left = {}
        for name, weight in piece.weights.items():
            grid: Any = piece.grids[name]
            moments = piece.moments(name) if grid.scheme.symmetric else None
            if moments is None:
                left[name] = "its inputs are not observed" if grid.scheme.symmetric else "its grid is not symmetric"
                continue
            progress.start(f"rounding `{name}`", self.rounds)
            try:
                split = Split(weight, grid, piece.keep.get(name), moments)
                for _ in range(self.rounds):
                    split.turn()
                    progress.advance()
            finally:
                progress.stop()
            steps[name], grids[name] = split.whole(), split.grid()
        return Rounded({**nearest(piece), **on_grid(piece, steps, grids)}, grids=grids, left=left)


class Split:
    """The bits of a weight and the factor of its scales, float64.

    Args:
        weight: in full precision.
        grid: symmetric.
        keep: its mask.
        moments: G×K×K, 2/rows · XᵀX.
    """

    def __init__(self, weight: Tensor, grid: Any, keep: Tensor | None, moments: Tensor) -> None:
        self._weight, self._grid, groups = weight, grid, len(moments)
        self._moments = moments.double()
        self._wanted = as_matrices(weight, groups).double()
        self._step = as_matrices((step_of(grid, weight) * torch.ones_like(weight)).contiguous(), groups).double()
        self._keep = torch.ones_like(self._wanted, dtype=torch.bool) if keep is None else as_matrices(keep, groups)
        whole = as_matrices(grid.codes(weight) - zero_of(grid, weight), groups).double() * self._keep
        size = [(whole.abs().long() >> m & 1) * whole.sign() for m in range(grid.scheme.bits - 1)]
        self.bits = torch.stack(size)  # M×G×N×K
        self.factor = torch.ones_like(self._wanted[..., :1])  # G×N×1

    @property
    def integers(self) -> Tensor:
        """G×N×K: Σ 2^m t_m."""
        return (self.bits * self._powers).sum(0)

    @property
    def _powers(self) -> Tensor:
        return 2.0 ** torch.arange(len(self.bits), device=self.bits.device).view(-1, 1, 1, 1).double()

    def error(self) -> float:
        """‖(W - α s q) X‖², 2/rows of it."""
        rest = self._rest()
        return float(((rest @ self._moments) * rest).sum())

    def turn(self) -> None:
        """α, and then every bit from the highest down."""
        self._scale()
        for m in reversed(range(len(self.bits))):
            self._bit(m)

    def whole(self) -> Tensor:
        """The integers, of the weight's shape."""
        return as_weight(self.integers, self._weight)

    def grid(self) -> Any:
        """With its scales times α."""
        scheme, scale = self._grid.scheme, self._grid.scale
        factor = self.factor.flatten().to(scale)
        factor = factor[0] if scheme.axis is None else factor.view(-1, *[1] * (scale.ndim - 1))
        return replace(self._grid, scale=(scale * factor).contiguous())

    def _rest(self) -> Tensor:
        return self._wanted - self.factor * self._step * self.integers

    def _scale(self) -> None:
        made = self._step * self.integers
        weighed = made @ self._moments
        above, below = (weighed * self._wanted).sum(-1, keepdim=True), (weighed * made).sum(-1, keepdim=True)
        if self._grid.scheme.axis is None:  # all rows share a scale
            above, below = (each.sum().expand_as(each) for each in (above, below))
        fits = (above > 0) & (below > 0)
        self.factor = torch.where(fits, above / below.clamp_min(1e-300), self.factor)

    def _bit(self, m: int) -> None:
        """Every number of one bit, column after column: the best of -1, 0, 1 while all others stay."""
        pull = self._rest() @ self._moments
        size = self.factor * self._step * 2.0**m
        curvature = self._moments.diagonal(dim1=-2, dim2=-1)
        for k in range(self.bits.shape[-1]):
            bit, unit = self.bits[m, ..., k], size[..., k]
            best = bit + pull[..., k] / (unit * curvature[:, None, k].clamp_min(1e-300))
            new = torch.where(curvature[:, None, k] > 0, best.round().clamp(-1, 1), bit) * self._keep[..., k]
            change = unit * (new - bit)
            if bool(change.any()):
                self.bits[m, ..., k] = new
                pull -= change[..., None] * self._moments[:, None, k]
