"""`model digits_lenet`: linear layers for the embedded digits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipelang.catalogue import method
from recipelang.methods.models._own import OwnModel

if TYPE_CHECKING:
    from torch import nn


@method("model", "digits_lenet")
@dataclass(frozen=True)
class DigitsLeNet(OwnModel):
    """LeNet-300-100 on 8×8 digits: linear layers of 300, 100 and 10 outputs, 50,200 weights.

    It has neither channels nor blocks that could be removed; its weights can be zero, and its neurons leave.
    Shapes: B×C×H×W → B×classes; made for 1×8×8, of larger images it sees the means of 8×8 areas.
    Source: LeCun et al. 1998, section III, without convolutions; a network of the first studies of sparse training.
    """

    input_shape: ClassVar[tuple[int, int, int]] = (1, 8, 8)

    def construct(self, channels: int, classes: int) -> nn.Module:
        """The architecture with random weights."""
        from recipelang.nets.digits_small import digits_lenet

        return digits_lenet(channels=channels, classes=classes, width=self.width)
