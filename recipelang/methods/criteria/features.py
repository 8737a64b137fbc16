"""`features`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipelang.catalogue import method
from recipelang.kinds import Evidence
from recipelang.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


@method("criterion", "features")
@dataclass(frozen=True)
class Features:
    """How much the loss would change, to first order, if the feature map were zero.

    Formula: filter |mean over positions of a·∂loss/∂a|, averaged over training images (Eq 8), a the feature map as
        the next layer reads it, after norm and activation; then, of a group, divided by the root of the sum of its
        squares (Eq 9).
    Coupled filters: a channel that several layers read, as at the sums of a ResNet, is gone for all of them: their
        a·∂loss/∂a are added for each image before the absolute value.
    Layers: the mean over their filters, a the output of each weight, before norm and activation; without Eq 9, after
        which all layers would have much the same mean.
    Shapes: maps B×N×P, N filters at P positions: pixels or tokens; N scores.
    Needs: one pass over the training images with gradients, BatchNorm in evaluation mode.
    When it misleads: deeper maps are sparser and have fewer positions, so layers late in a network count too little
        when whole layers are ranked (thesis 5.4); terms of opposite sign within a map cancel.
    Source: Molchanov, Tyree, Karras, Aila, Kautz, "Pruning convolutional neural networks for resource efficient
        inference", ICLR 2017; layers: Elkerdawy et al., "To filter prune, or to layer prune, that is the question",
        ACCV 2020.
    """

    unit: ClassVar[str] = "filter"
    needs: ClassVar[tuple[str, ...]] = ("activations", "gradients", "labels")

    def score(self, evidence: Evidence) -> Mapping[str, Tensor]:
        """Group or weight → the mean over images of |mean over positions of a·∂loss/∂a|.

        Raises:
            Refusal: RCP1005: the loss is not a finite number; RCP1008: no training images.
        """
        sums: dict[str, Tensor] = {}
        counts: dict[str, int] = {}
        now: dict[str, Tensor] = {}
        last: list[Tensor] = []

        def close() -> None:
            """Absolute values, once all readers of a batch are added."""
            for name, changes in now.items():
                # The gradients are those of the mean over the batch.
                images = changes.abs().sum(0).double() * len(changes)
                sums[name] = sums[name] + images if name in sums else images
                counts[name] = counts.get(name, 0) + len(changes)
            now.clear()

        def observe(name: str, maps: Tensor, gradients: Tensor | None, targets: Tensor) -> None:
            if not (last and last[0] is targets):
                close()
                last[:] = [targets]
            assert gradients is not None
            change = (maps * gradients).mean(2)
            now[name] = now[name] + change if name in now else change

        evidence.feature_maps(observe, gradients=True)
        close()
        means = {name: total / counts[name] for name, total in sums.items()}
        if evidence.unit != "filter":
            return means
        return {name: mean / torch.linalg.vector_norm(mean).clamp_min(1e-30) for name, mean in means.items()}
