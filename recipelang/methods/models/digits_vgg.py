"""`model digits_vgg`: a chain of convolutions for the embedded digits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipelang.catalogue import method
from recipelang.methods.models._own import OwnModel

if TYPE_CHECKING:
    from torch import nn


@method("model", "digits_vgg")
@dataclass(frozen=True)
class DigitsVGG(OwnModel):
    """Six convolutions of 16, 16, 32, 32, 64 and 64 filters for 8×8 digits, with BatchNorm and without shortcuts.

    Every filter can be removed, since nothing is added to anything: for studies of how much each layer may lose.
    Shapes: B×C×H×W → B×classes; made for 1×8×8, and at least 4×4.
    Source: a small form of the VGG of Simonyan and Zisserman 2015.
    """

    input_shape: ClassVar[tuple[int, int, int]] = (1, 8, 8)

    def construct(self, channels: int, classes: int) -> nn.Module:
        """The architecture with random weights."""
        from recipelang.nets.digits_small import digits_vgg

        return digits_vgg(channels=channels, classes=classes, width=self.width)
