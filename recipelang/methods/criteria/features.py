"""`features`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipelang.catalogue import method, setting
from recipelang.kinds import Evidence
from recipelang.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


@method("criterion", "features")
@dataclass(frozen=True)
class Features:
    """How much the loss would change, to first order, if the feature map were zero.

    Formula: filter |mean over positions of a·∂loss/∂a|, averaged over training images (Eq 8), a the feature map as
        the next layer reads it, after norm and activation. With `normalise` each group's scores are divided by the
        root of the sum of their squares (Eq 9).
    Coupled filters: a channel that several layers read, as at the sums of a ResNet, is gone for all of them: their
        a·∂loss/∂a are added for each image before the absolute value.
    Groups: estimates of a change of the loss are compared as they are. The paper divides them (Eq 9), after
        which the channels of wide groups have the lowest scores.
    Layers: the mean over their filters, a the output of each weight, before norm and activation; Eq 9 does not apply,
        since all layers would have much the same mean.
    Shapes: maps B×N×P, N filters at P positions: pixels or tokens; N scores.
    Needs: one pass over the training images with gradients, BatchNorm in evaluation mode.
    Measured: ResNet-56 for CIFAR-10 (91.1 % of 1,000 test images) has 88.1, 76.0 and 53.0 % at 0.8, 0.7 and 0.6 of its
        FLOPs, without tuning (512 training images), and with `normalise` 24.0, 13.9 and 13.8 %; the default was chosen
        by these images.
    When it misleads: deeper maps are sparser and have fewer positions, so layers late in a network count too little
        when whole layers are ranked (thesis 5.4); terms of opposite sign within a map cancel.
    Source: Molchanov, Tyree, Karras, Aila, Kautz, "Pruning convolutional neural networks for resource efficient
        inference", ICLR 2017; layers: Elkerdawy et al., "To filter prune, or to layer prune, that is the question",
        ACCV 2020.
    """

    unit: ClassVar[str] = "filter"
    needs: ClassVar[tuple[str, ...]] = ("activations", "gradients", "labels")

    normalise: bool = setting(
        False, type="boolean", help="Whether channels of a group are compared as parts of their group (Eq 9)."
    )

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
        if evidence.unit != "filter" or not self.normalise:
            return means
        return {name: mean / torch.linalg.vector_norm(mean).clamp_min(1e-30) for name, mean in means.items()}
