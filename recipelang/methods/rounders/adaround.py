"""`adaround(steps=2000, lr=0.01, weight=0.01)`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from recipelang.catalogue import method, setting
from recipelang.kinds import LAYER, Piece, Progress, Rounded
from recipelang.methods.rounders._learned import learned


@method("rounder", "adaround")
@dataclass(frozen=True)
class AdaRound:
    """Every weight is rounded up or down, so that the output of its layer stays.

    What: one layer after another, each with what enters it once the layers before it are rounded.
    Formula: min over V of mean ‖f(W x) - f(Ŵ x̂)‖² / e + λ Σ 1 - |2 h(V) - 1|^β, Ŵ = s · clip(⌊W / s⌋ + h(V)),
        h(V) = clip(1.2 · σ(V) - 0.1, 0, 1); f: bias, BatchNorm and ReLU where they follow; e: the mean square of
        f(W x), so that λ is the same for every scale. β falls from 20 to 2 after a fifth of the steps; before, the
        second term does not count. At the end h is rounded.
    Shapes: up to 8192 rows x of K inputs enter a weight, of all images and positions; 256 of them in a step.
    Needs: `on train(samples=512)`, without labels; one pass for each weight, up to that weight, and a uniform grid.
    When it misleads: it sees only the sampled rows: with few images and many inputs it overfits them. A step up or
        down is all it can do: with 2 bits the range matters more, so write `by mse`.
    Source: Nagel et al., "Up or Down? Adaptive Rounding for Post-Training Quantization", ICML 2020, equations 21 to 25.
    """

    looks_at_data: ClassVar[bool] = True
    uniform: ClassVar[bool] = True
    unit: ClassVar[str] = LAYER

    steps: int = setting(2000, type="integer", low=1, positional=True, help="Steps of Adam for each weight.")
    lr: float = setting(0.01, type="number", low=0, open_low=True, help="Learning rate.")
    weight: float = setting(0.01, type="number", low=0, help="λ of the regulariser.")

    def round(self, piece: Piece, progress: Progress) -> Rounded:
        """Learned values; the nearest ones where nothing enters the weight."""
        return learned(piece, progress, steps=self.steps, lr=self.lr, weight=self.weight, weighted=False)
