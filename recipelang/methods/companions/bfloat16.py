"""`with bfloat16`: the precision of a training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from recipelang.catalogue import method
from recipelang.kinds import Companion


@method("companion", "bfloat16")
@dataclass(frozen=True)
class Bfloat16(Companion):
    """Matrix products and convolutions in bfloat16, whatever the device: faster where it has units for it.

    Formula: operands are rounded to 8 bits of mantissa, sums are in float32 (autocast); weights, gradients, the
        optimizer, norms and the loss stay in float32.
    Shapes: any.
    Control: trains with it too, as it belongs to the training and not to the surgery.
    When it misleads: a device without such units emulates them, several times slower than float32; the plan says so.
        Small differences between outputs, which late steps of a distillation follow, are rounded away.
    Source: Kalamkar et al. 2019, "A Study of BFLOAT16 for Deep Learning Training"; `torch.autocast`.
    """

    ordinary: ClassVar[bool] = True
    precision: ClassVar[str] = "bfloat16"
