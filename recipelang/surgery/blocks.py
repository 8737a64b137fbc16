"""A weight as blocks of rows × columns: R outputs by C input channels, at each position of a kernel."""

from __future__ import annotations

import re

from torch import Tensor

#: the end of the name of a pattern of blocks: `90% sparse in blocks 4x4`
NAMED = re.compile(r" blocks ([1-9][0-9]{0,5})x([1-9][0-9]{0,5})")


def why_no_blocks(weight: Tensor, rows: int, columns: int) -> str | None:
    """Why a weight O×I or O×I×kernel cannot be divided into blocks; None where it can."""
    if weight.ndim < 2:
        return "it has no input channels"
    for count, size, what in ((len(weight), rows, "output"), (weight.shape[1], columns, "input channel")):
        if count % size:
            return f"{count} {what}{'s are' if count != 1 else ' is'} not a multiple of {size}"
    return None


def blocks_of(weight: Tensor, rows: int, columns: int) -> Tensor:
    """O×I×kernel → N×(rows·columns), the blocks in the order of outputs, input channels, positions."""
    return _apart(weight, rows, columns).reshape(-1, rows * columns)


def from_blocks(blocks: Tensor, like: Tensor, rows: int, columns: int) -> Tensor:
    """The inverse of `blocks_of`, for a weight of the shape of `like`."""
    apart = blocks.reshape(_apart(like, rows, columns).shape)  # O/R, I/C, kernel…, R, C
    return apart.movedim(-2, 1).movedim(-1, 3).reshape(like.shape)


def broken_blocks(keep: Tensor, pattern: str) -> str:
    """Why a mask with the name of a pattern of blocks does not keep and remove whole blocks; "" where it does, and for
    any other pattern.

    Args:
        keep: bool, O×I or O×I×kernel.
        pattern: its name.
    """
    named = NAMED.search(pattern)
    if named is None:
        return ""
    rows, columns = int(named[1]), int(named[2])
    if why := why_no_blocks(keep, rows, columns):
        return why
    blocks = blocks_of(keep, rows, columns)
    return "" if bool((blocks.all(1) | ~blocks.any(1)).all()) else "its blocks would be cut"


def _apart(weight: Tensor, rows: int, columns: int) -> Tensor:
    """O×I×kernel → O/R × I/C × kernel × R × C."""
    apart = weight.unflatten(1, (-1, columns)).unflatten(0, (-1, rows))  # O/R, R, I/C, C, kernel…
    return apart.movedim(3, -1).movedim(1, -2)
