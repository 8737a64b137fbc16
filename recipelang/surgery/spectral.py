"""Singular vectors with gradients that stay finite."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def directions(rows: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The first right singular vectors, and their values, of matrices.

    They are the eigenvectors of the smaller of the two products of a matrix with itself.

    Args:
        rows: B×places×channels.
        count: how many; fewer where the matrices have fewer.

    Returns:
        B×channels×count of length one, zeros where a singular value is zero, and B×count.
    """
    count = min(count, *rows.shape[1:])
    if rows.shape[1] < rows.shape[2]:
        across = _Eigenvectors.apply(rows @ rows.mT)[..., :count]
        found = rows.mT @ across
    else:
        along = _Eigenvectors.apply(rows.mT @ rows)[..., :count]
        found = along * (rows @ along).norm(dim=1, keepdim=True)
    lengths = found.square().sum(1)
    return torch.nn.functional.normalize(found, dim=1), lengths.detach().sqrt()


class _Eigenvectors(torch.autograd.Function):
    """Symmetric matrices B×N×N → the eigenvectors as columns, that of the largest value first.

    The gradient of eigenvectors divides by the gaps between eigenvalues. Where a gap g is small beside the largest
    eigenvalue e, g/(g² + ε·e²) takes the place of 1/g, ε the spacing of the floating-point numbers.
    """

    @staticmethod
    def forward(ctx: Any, matrices: Tensor) -> Tensor:
        values, vectors = torch.linalg.eigh(matrices)
        values, vectors = values.flip(-1), vectors.flip(-1)
        ctx.save_for_backward(values, vectors)
        return vectors

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        values, vectors = ctx.saved_tensors
        gaps = values[:, None, :] - values[:, :, None]  # [i, j]: e_j − e_i
        largest = values.abs().amax(-1)[:, None, None]
        damped = gaps.square() + torch.finfo(values.dtype).eps * largest.square()
        inverse = gaps / torch.where(damped == 0, torch.ones_like(damped), damped)
        inner = vectors @ (inverse * (vectors.mT @ gradient)) @ vectors.mT
        return (inner + inner.mT) / 2
