"""`with float32`: the precision of a training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from recipelang.catalogue import method
from recipelang.kinds import Companion


@method("companion", "float32")
@dataclass(frozen=True)
class Float32(Companion):
    """Everything in float32, whatever the device.

    Formula: no operand is rounded; without this word, a device with units for bfloat16 multiplies in bfloat16.
    Shapes: any.
    Control: trains with it too, as it belongs to the training and not to the surgery.
    When it misleads: it is several times slower on a device with units for bfloat16. Results of two devices still
        differ in the order of their sums.
    Source: Kalamkar et al. 2019, "A Study of BFLOAT16 for Deep Learning Training"; `torch.autocast`.
    """

    ordinary: ClassVar[bool] = True
    precision: ClassVar[str] = "float32"
