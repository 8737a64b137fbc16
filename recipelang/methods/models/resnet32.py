"""`model resnet32`: the CIFAR ResNet of 32 layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipelang.catalogue import method
from recipelang.methods.models._own import OwnModel

if TYPE_CHECKING:
    from torch import nn


@method("model", "resnet32")
@dataclass(frozen=True)
class ResNet32(OwnModel):
    """ResNet of 32 layers for small images: three stages of 5 basic blocks with 16, 32 and 64 filters.

    Shortcuts have no parameters (option A), so 13 of its 15 blocks can be removed.
    Shapes: B×C×H×W → B×classes; made for 3×32×32.
    Source: He et al. 2016, "Deep Residual Learning for Image Recognition", section 4.2.
    """

    input_shape: ClassVar[tuple[int, int, int]] = (3, 32, 32)

    def construct(self, channels: int, classes: int) -> nn.Module:
        """The architecture with random weights."""
        from recipelang.nets.cifar_resnet import cifar_resnet

        return cifar_resnet(32, channels=channels, classes=classes, width=self.width)
