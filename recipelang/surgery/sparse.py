"""Positions of nonzeros as gaps of few bits: how many zeros are skipped, with fillers where a run is too long."""

from __future__ import annotations

import torch
from torch import Tensor

#: bits that a gap may have
WIDTHS = range(1, 17)
#: bytes that say how many
WIDTH_BYTES = 1


def _skipped(kept: Tensor) -> Tensor:
    """Zeros before each nonzero, int64."""
    where = kept.nonzero().flatten()
    return torch.diff(where, prepend=where.new_tensor([-1])) - 1


def items(kept: Tensor, width: int) -> tuple[int, int]:
    """How many items a sparse layout has, nonzeros and fillers, and how many of them are fillers.

    Args:
        kept: bool (N,).
        width: bits of a gap.
    """
    skipped = _skipped(kept)
    fillers = int((skipped >> width).sum())
    return len(skipped) + fillers, fillers


def gapped(kept: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """The gap before each item, int64, and which items are fillers; zeros after the last nonzero have no item.

    A filler stands for a zero itself, so it takes 2^width places with the gap before it.
    """
    skipped = _skipped(kept)
    last = (skipped >> width).add(1).cumsum(0) - 1
    gaps = torch.full((int(last[-1]) + 1 if len(last) else 0,), 2**width - 1)
    filler = torch.ones_like(gaps, dtype=torch.bool)
    gaps[last], filler[last] = skipped & (2**width - 1), False
    return gaps, filler


def bits_for(count: int) -> int:
    """Bits of one of this many numbers."""
    return (count - 1).bit_length()


def fewest(kept: Tensor, count: int | None) -> tuple[int, int]:
    """Bits of all nonzeros and the gaps between them, with gaps of the width that takes the fewest, and that width.

    Args:
        kept: bool (N,).
        count: how many different nonzero numbers there may be, to which fillers add zero; None: they are float32.
    """
    found = []
    for width in WIDTHS:
        number, fillers = items(kept, width)
        bits = 32 if count is None else bits_for(count + bool(fillers))
        found.append((number * (bits + width), width))
    return min(found)


def code_bytes(kept: Tensor, count: int, zero: bool) -> int:
    """Bytes of numbers with a fixed number of bits each, densely or as nonzeros and gaps where that is smaller.

    Args:
        kept: bool (N,): what is not zero.
        count: how many different nonzero numbers there may be.
        zero: whether zero is one of the numbers of the dense layout.
    """
    bits = len(kept) * bits_for(count + zero)
    if not bool(kept.all()):
        bits = min(bits, fewest(kept, count)[0] + 8 * WIDTH_BYTES)
    return -(-bits // 8)


def sparse_float_bytes(kept: Tensor) -> int:
    """Bytes of a float32 weight, as its nonzeros and the gaps between them where that is smaller."""
    bits, _ = fewest(kept.flatten(), None)
    return min(4 * kept.numel(), -(-bits // 8) + WIDTH_BYTES)


def positions(gaps: Tensor) -> Tensor:
    """Where each item is."""
    return (gaps + 1).cumsum(0) - 1
