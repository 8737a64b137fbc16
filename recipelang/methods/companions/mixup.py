"""`with mixup(0.2)`: mixtures of two images, and of their labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from recipelang.catalogue import method, setting
from recipelang.methods.companions._mixing import Mixing

if TYPE_CHECKING:
    from torch import Tensor


@method("companion", "mixup")
@dataclass(frozen=True)
class Mixup(Mixing):
    """Mixup: the network learns from mixtures of two images, with both labels.

    What: between two images its answer changes evenly; it is less sure, and better calibrated.
    Formula: x = λ·x_i + (1 − λ)·x_j and y = λ·y_i + (1 − λ)·y_j, with λ ~ Beta(α, α) drawn once for a batch and j from
        a permutation of it; teachers are asked about the same mixtures.
    Shapes: images B×C×H×W, classes B → shares of classes B×C; several labels B×C → shares of each, B×C.
    Control: trains with it too, as it belongs to the training and not to the surgery.
    When it misleads: training accuracy is that of mixtures, against the class with the larger share, and lower than
        what the network does on images. A short training after surgery may have no time for it.
    Source: Zhang et al. 2018, "mixup: Beyond Empirical Risk Minimization", equation 1; λ for a batch as in their code.
    """

    alpha: float = setting(
        0.2, type="number", low=0, open_low=True, positional=True, help="Larger: mixtures nearer to one half."
    )

    def mix(self, images: Tensor, others: Tensor, share: float) -> tuple[Tensor, float]:
        """The weighted sum of both."""
        return share * images + (1 - share) * others, share
