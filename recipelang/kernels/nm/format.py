"""The packed form of a 2:4 weight: half of the values, and two bits for each that say where it stood.

This is the one form that is ever saved; what a kernel reads is derived from it.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Packed:
    """A weight N×K of which at most two of every four along K are other than zero.

    Attributes:
        values: N×K/2: the two kept of every four, in ascending order of their place; the dtype of the weight, or int8.
        meta: N×ceil(K/32) int32: four bits for each group, first place | second place << 2, first < second, the first
            group in the lowest bits (the encoding of PTX `mma.sp`); groups beyond K are 0x4.
        scales: N float32, weight = values · scale of its row, where the values are int8; None otherwise.
    """

    values: Tensor
    meta: Tensor
    scales: Tensor | None = None
