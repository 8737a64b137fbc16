"""The task `classification`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipelang.catalogue import method, setting
from recipelang.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


@method("task", "classification")
@dataclass(frozen=True)
class Classification:
    """One class per image.

    What: the loss is the cross-entropy of the outputs with the labels, mean over the batch.
    Formula: −Σ_c y_c · log softmax(outputs)_c, with y the label, smoothed as (1 − s)·label + s/C.
    Shapes: outputs B×C, labels B → scalar.
    When it misleads: accuracy counts every class by its share of the data; rare classes hardly matter.
    Source: cross-entropy; label smoothing of Szegedy et al. 2016.
    """

    metrics: ClassVar[tuple[str, ...]] = ("top1", "loss")

    smoothing: float = setting(
        0.0, type="number", low=0, high=0.9, help="Label smoothing s, in training: 0.1 is usual for large data sets."
    )

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy: outputs B×C, labels B → scalar, mean over the batch."""
        return torch.nn.functional.cross_entropy(outputs, labels, label_smoothing=self.smoothing)
