"""`with cutmix`: a rectangle of one image pasted into another, and both labels by their area."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from recipelang.catalogue import method, setting
from recipelang.lazy import torch
from recipelang.methods.companions._mixing import Mixing

if TYPE_CHECKING:
    from torch import Tensor


@method("companion", "cutmix")
@dataclass(frozen=True)
class CutMix(Mixing):
    """CutMix: the network learns from images with a rectangle of another image, with both labels.

    What: it must recognise a class by every part of it, not by one.
    Formula: a rectangle of sides H·√(1 − λ) and W·√(1 − λ), λ ~ Beta(α, α), around a place drawn evenly and cut at the
        border of the image, is taken from x_j; y = λ'·y_i + (1 − λ')·y_j, λ' the share of the area that remains. One
        rectangle for a batch, j from a permutation of it; teachers are asked about the same mixtures.
    Shapes: images B×C×H×W, classes B → shares of classes B×C; several labels B×C → shares of each, B×C.
    Control: trains with it too, as it belongs to the training and not to the surgery.
    When it misleads: training accuracy is that of mixtures, against the class with the larger share, and lower than
        what the network does on images. On small images a rectangle may hide what tells the class.
    Source: Yun et al. 2019, "CutMix: Regularization Strategy to Train Strong Classifiers with Localizable Features",
        equations 1 and 2 and algorithm A1.
    """

    alpha: float = setting(
        1.0, type="number", low=0, open_low=True, positional=True, help="Larger: rectangles nearer to half the area."
    )

    def mix(self, images: Tensor, others: Tensor, share: float) -> tuple[Tensor, float]:
        """The images with a rectangle of the others."""
        (top, bottom), (left, right) = (_cut(length, (1 - share) ** 0.5) for length in images.shape[2:])
        mixed = images.clone()
        mixed[:, :, top:bottom, left:right] = others[:, :, top:bottom, left:right]
        return mixed, 1 - (bottom - top) * (right - left) / (images.shape[2] * images.shape[3])


def _cut(length: int, part: float) -> tuple[int, int]:
    """Where a piece of this part of a side begins and ends, around a place drawn evenly."""
    centre, half = int(torch.randint(length, ())), int(length * part) // 2
    return max(0, centre - half), min(length, centre + half)
