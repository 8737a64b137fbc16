"""A packed weight in the order that sparse tensor cores read: one 16-byte load of a lane is one operand.

`mma.sp.m16n8k32` multiplies a tile of 16 outputs × 32 inputs, of which 16×16 values are stored. With lane = 4g + t
(g = 0…7, t = 0…3) it reads, in the terms of the PTX ISA ("Matrix fragments for sparse mma.m16n8k32", `.f16`/`.bf16`):

    values    register r = h + 2c, half j of a lane:   row 8h + g,   stored column 8c + 2t + j      (h, c, j = 0, 1)
    metadata  lanes t = 2f and t = 2f + 1 of each four, where f is the sparsity selector of the instruction:
              t = 2f + s:   low 16 bits: row g,   high 16 bits: row 8 + g,   both for inputs 16s … 16s + 15

Two consecutive tiles along the inputs, a *pair*, share the metadata words: the even tile is multiplied with
selector 0, the odd one with selector 1. Eight-bit values use one register for both tiles of the pair:

              byte 0             byte 1             byte 2             byte 3
    word r    even tile, j = 0   odd tile, j = 0    even tile, j = 1   odd tile, j = 1      (of register r; value + 128)

so that the even bytes are register r of the even tile and the odd bytes that of the odd tile.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from recipelang.kernels.nm.format import Packed

#: Outputs of one tile, and inputs of one pair of tiles: a weight is padded to multiples of these.
TILE_OUTPUTS, PAIR_INPUTS = 16, 64

#: Metadata of eight groups that keep their first two places: used for padding, since 0 is not valid metadata.
PAD_META = 0x44444444

#: Added to an eight-bit value to make it an unsigned byte.
BYTE_BIAS = 128

# Axes of the values, in canonical order: row = 16·tile + 8h + g, stored column = 32·pair + 16f + 8c + 2t + j.
#   tile h g pair f c t j  →  tile pair f g t c h j      (16 bits)      tile pair g t c h j f      (8 bits)
_WIDE = (0, 3, 4, 2, 6, 5, 1, 7)
_NARROW = (0, 3, 2, 6, 5, 1, 7, 4)
# Axes of the metadata, as halves of words: row as above, half = 4·pair + 2f + s.
#   tile h g pair f s  →  tile pair g f s h
_META = (0, 3, 2, 4, 5, 1)


@dataclass(frozen=True)
class Fragments:
    """A weight N×K for `mma.sp`, padded to N' (a multiple of 16) and K' (a multiple of 64).

    Attributes:
        values: int32. 16-bit values: N'/16 × K'/64 × 2 × 32 × 4, by tile of outputs, pair, tile of the pair, lane and
            register. Eight-bit values: N'/16 × K'/64 × 32 × 4.
        meta: N'/16 × K'/64 × 32 int32, by tile of outputs, pair and lane.
    """

    values: Tensor
    meta: Tensor


def fragments(packed: Packed, dtype: torch.dtype) -> Fragments:
    """The packed weight in fragment order, on its device.

    Args:
        packed: N×K, K a multiple of 4. Scales are not part of the fragments.
        dtype: torch.float16 or torch.bfloat16, to which values that are not int8 are rounded; int8 stays int8.
    """
    outputs, kept = packed.values.shape
    rows, pairs = -(-outputs // TILE_OUTPUTS) * TILE_OUTPUTS, -(-2 * kept // PAIR_INPUTS)
    narrow = packed.values.dtype is torch.int8
    values = packed.values if narrow else packed.values.to(dtype)
    values = functional.pad(values, (0, pairs * PAIR_INPUTS // 2 - kept, 0, rows - outputs))
    if narrow:
        values = (values.to(torch.int16) + BYTE_BIAS).to(torch.uint8)
    values = values.view(rows // 16, 2, 8, pairs, 2, 2, 4, 2).permute(_NARROW if narrow else _WIDE)
    values = values.contiguous().view(-1).view(torch.int32)
    meta = functional.pad(packed.meta, (0, 2 * pairs - packed.meta.shape[1], 0, rows - outputs), value=PAD_META)
    meta = meta.view(torch.int16).view(rows // 16, 2, 8, pairs, 2, 2).permute(_META).contiguous().view(-1)
    shape = (rows // 16, pairs, 32, 4) if narrow else (rows // 16, pairs, 2, 32, 4)
    return Fragments(values.view(shape), meta.view(torch.int32).view(rows // 16, pairs, 32))


def from_fragments(
    order: Fragments, outputs: int, inputs: int, dtype: torch.dtype, scales: Tensor | None = None
) -> Packed:
    """The inverse of `fragments`: the packed form of a weight outputs×inputs with values of `dtype`, or torch.int8."""
    narrow = order.values.ndim == 4
    tiles, pairs = order.meta.shape[:2]
    if narrow:
        axes = order.values.contiguous().view(-1).view(torch.uint8).view(tiles, pairs, 8, 4, 2, 2, 2, 2)
        values = (axes.to(torch.int16) - BYTE_BIAS).to(torch.int8)
    else:
        values = order.values.contiguous().view(-1).view(dtype).view(tiles, pairs, 2, 8, 4, 2, 2, 2)
    values = values.permute(_inverse(_NARROW if narrow else _WIDE)).reshape(tiles * 16, pairs * 32)
    meta = order.meta.contiguous().view(-1).view(torch.int16).view(tiles, pairs, 8, 2, 2, 2).permute(_inverse(_META))
    meta = meta.contiguous().view(tiles * 16, pairs * 4).view(torch.int32)
    return Packed(values[:outputs, : inputs // 2].contiguous(), meta[:outputs, : -(-inputs // 32)].contiguous(), scales)


def _inverse(axes: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(axes.index(axis) for axis in range(len(axes)))
