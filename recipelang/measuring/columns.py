"""Weights as matrices whose columns read the parts of a group: G groups × outputs × K, K in the order kernel, I."""

from __future__ import annotations

import torch
from torch import Tensor


def as_matrix(weight: Tensor, columns: Tensor) -> Tensor:
    """O×I×kernel → G×O/G×K.

    Args:
        columns: N×(G·c), of `Evidence.readers`: they reach into every group of inputs.
    """
    size = weight[0].numel()
    groups = int(columns.max()) // size + 1
    return weight.movedim(1, -1).reshape(groups, -1, size)


def as_weight(matrix: Tensor, weight: Tensor) -> Tensor:
    """G×O/G×K → the shape of the weight O×I×kernel."""
    shape = (len(weight), *weight.shape[2:], weight.shape[1])
    return matrix.reshape(shape).movedim(-1, 1)


def spread(numbers: Tensor, columns: Tensor, matrix: Tensor, rest: float = 1.0) -> Tensor:
    """A number for each of N parts → G×1×K: at its columns, `rest` at those of no part."""
    flat = torch.full((matrix.shape[0] * matrix.shape[2],), rest, dtype=matrix.dtype, device=matrix.device)
    flat[columns.flatten()] = numbers.to(matrix)[:, None].expand_as(columns).flatten()
    return flat.reshape(len(matrix), 1, -1)


def gathered(matrix: Tensor, columns: Tensor) -> Tensor:
    """G×…×K → N: the sum over the columns of each part."""
    return matrix.sum(tuple(range(1, matrix.ndim - 1))).flatten()[columns].sum(1)
