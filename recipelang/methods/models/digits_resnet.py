"""`model digits_resnet`: the embedded network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipelang.catalogue import method
from recipelang.methods.models._own import OwnModel

if TYPE_CHECKING:
    from torch import nn


@method("model", "digits_resnet")
@dataclass(frozen=True)
class DigitsResNet(OwnModel):
    """A residual network for 8×8 digits that trains in seconds: ten basic blocks with 16 and 32 filters.

    It is the default of a recipe that names neither model nor data. Nine of its blocks can be removed.
    Shapes: B×C×H×W → B×classes; made for 1×8×8.
    Source: a small form of the CIFAR ResNet of He et al. 2016.
    """

    input_shape: ClassVar[tuple[int, int, int]] = (1, 8, 8)

    def construct(self, channels: int, classes: int) -> nn.Module:
        """The architecture with random weights."""
        from recipelang.nets.digits_resnet import digits_resnet

        return digits_resnet(channels=channels, classes=classes, width=self.width)
