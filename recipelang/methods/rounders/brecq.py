"""`brecq(steps=1000, lr=0.01, weight=0.01, per=block)`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from recipelang.catalogue import method, setting
from recipelang.kinds import UNITS, Piece, Progress, Rounded
from recipelang.methods.rounders._learned import learned


@method("rounder", "brecq")
@dataclass(frozen=True)
class BRECQ:
    """Weights are rounded up or down, block by block, so that the block's output changes the loss as little as it can.

    What: as `adaround`, but the weights of a block are rounded together, and errors count by how much the loss depends
        on them. A block is a smallest module through which everything passes; weights in none are pieces alone.
    Formula: min over V of mean Σ (z - ẑ)² · g² / e + λ Σ 1 - |2 h(V) - 1|^β, z and ẑ the outputs of the block before
        and with rounded weights, g = ∂L/∂z of each sample (the diagonal of the Fisher matrix), with mean g² = 1;
        e the mean square of z; h, β as in `adaround`.
    Shapes: what enters and leaves a block with 32 images in a step; up to 256 MB of them are kept.
    Needs: `on train(samples=512)` with labels; forward and backward passes for each block, and a uniform grid.
    When it misleads: in a network that fits its training images only a few of them have gradients. `per=network`
        adapts more weights at once than few images determine.
    Source: Li et al., "BRECQ: Pushing the Limit of Post-Training Quantization by Block Reconstruction", ICLR 2021,
        equation 10 and algorithm 1.
    """

    looks_at_data: ClassVar[bool] = True
    uniform: ClassVar[bool] = True

    steps: int = setting(1000, type="integer", low=1, positional=True, help="Steps of Adam for each block.")
    lr: float = setting(0.01, type="number", low=0, open_low=True, help="Learning rate.")
    weight: float = setting(0.01, type="number", low=0, help="λ of the regulariser.")
    per: str = setting("block", type="word", choices=UNITS, help="What is rounded together.")
    fisher: bool = setting(True, type="boolean", help="Whether errors count by squared gradients of the loss.")

    @property
    def unit(self) -> str:
        """What is rounded together."""
        return self.per

    def round(self, piece: Piece, progress: Progress) -> Rounded:
        """Learned values; the nearest ones where nothing enters the block."""
        return learned(piece, progress, steps=self.steps, lr=self.lr, weight=self.weight, weighted=self.fisher)
