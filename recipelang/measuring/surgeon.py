"""The optimal brain surgeon, column by column: what a column of a weight becomes, the later ones make up for.

Source: Hassibi, Stork 1993; Frantar, Alistarh 2023 (SparseGPT), algorithm 1; Frantar et al. 2023 (GPTQ), algorithm 1.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from recipelang.errors import Refusal

#: the number of a column, the columns of its block from it on, the diagonal of the factor there → what it becomes
Decide = Callable[[int, Tensor, Tensor], Tensor]


def columnwise(weight: Tensor, upper: Tensor, decide: Decide, block: int) -> Tensor:
    """The weight after every column was decided, in order, and the rest corrected:
    w_R ← w_R - (w_j - q_j) · [H_R⁻¹]_jR / [H_R⁻¹]_jj for the columns R after j.

    Args:
        weight: N×K float64; changed in place.
        upper: K×K, U of H⁻¹ = UᵀU: its row j is [H_R⁻¹]_jR / √[H_R⁻¹]_jj.
        decide: (j, columns of j's block from j on as they are, the diagonal of U there) → N, what column j becomes.
        block: columns whose corrections are applied to the rest together; no effect on the result.
    """
    for start in range(0, weight.shape[1], block):
        columns = slice(start, start + block)
        part, factor = weight[:, columns], upper[columns, columns]
        errors, scales = torch.zeros_like(part), factor.diagonal()
        for j in range(part.shape[1]):
            gone = part[:, j] - decide(start + j, part[:, j:], scales[j:])
            errors[:, j] = gone / scales[j]
            part[:, j:] -= errors[:, j, None] * factor[j, j:]
        weight[:, columns.stop :] -= errors @ upper[columns, columns.stop :]
    return weight


def upper_of(moments: Tensor, damp: float, name: str) -> Tensor:
    """U of H⁻¹ = UᵀU, H the damped moments; float64.

    Raises:
        Refusal: RCP1011: H is singular despite the damping.
    """
    return torch.linalg.cholesky(torch.cholesky_inverse(damped_factor(moments, damp, name)), upper=True)


def damped_factor(moments: Tensor, damp: float, name: str) -> Tensor:
    """The lower Cholesky factor of H = moments, damped, …×K×K float64; inputs that are always 0 are decoupled.

    Args:
        damp: is added to the diagonal, as a share of its mean.
        name: of the method, for the message.

    Raises:
        Refusal: RCP1011: H is singular despite the damping.
    """
    hessian = moments.to(torch.float64, copy=True)
    diagonal = hessian.diagonal(dim1=-2, dim2=-1)
    mean = diagonal.mean(-1, keepdim=True)
    diagonal.add_(damp * mean).masked_fill_(diagonal == 0, 1)
    factor, failed = torch.linalg.cholesky_ex(hessian)
    if bool(failed.any()):
        raise Refusal(
            "RCP1011",
            f"the inputs of a weight depend on each other too closely for damp={damp:g}",
            f"more damping helps: `{name}(damp={min(1.0, damp * 10):g})`",
        )
    return factor
