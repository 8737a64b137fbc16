"""N:M sparsity in plain torch: the definition that every kernel is compared with.

Of every m consecutive weights along the input channels at most n are nonzero. Groups run
along axis 1 of a weight O×I or O×I×kh×kw, for each output channel and each position of the kernel.
Source: Mishra et al. 2021, "Accelerating Sparse Deep Neural Networks" (2:4).
"""

from __future__ import annotations

import torch
from torch import Tensor

from recipelang.errors import Refusal


def grouped(weight: Tensor, m: int) -> Tensor:
    """O×I×… → O×…×(I/m)×m: the groups of a weight, in its last axis."""
    last = weight.movedim(1, -1)
    return last.reshape(*last.shape[:-1], weight.shape[1] // m, m)


def ungrouped(groups: Tensor) -> Tensor:
    """The inverse of `grouped`."""
    return groups.flatten(-2).movedim(-1, 1)


def nm_mask(scores: Tensor, n: int, m: int) -> Tensor:
    """Keep the n highest scores of every m, the first of equal ones.

    Args:
        scores: importance, O×I or O×I×kh×kw, any floating dtype; I a multiple of m.
        n, m: 0 < n < m.

    Returns:
        bool, the shape of `scores`; True where the weight stays.

    Raises:
        Refusal: RCP0704: a score is NaN; RCP0705: I is not a multiple of m.
    """
    reason = why_not(scores, m)
    if reason:
        raise Refusal("RCP0705", f"no {n}:{m} pattern for this weight: {reason}", "exclude the layer with `except`")
    if scores.isnan().any():
        raise Refusal(
            "RCP0704",
            "an importance score is not a number",
            "look for NaN in the weights or gradients; a lower learning rate may help",
        )
    groups = grouped(scores, m)
    # A stable sort keeps equal scores in order, so that the lower index wins on every machine.
    order = groups.sort(dim=-1, descending=True, stable=True).indices
    keep = torch.zeros_like(groups, dtype=torch.bool).scatter_(-1, order[..., :n], True)
    return ungrouped(keep).contiguous()


def nm_holds(weight: Tensor, n: int, m: int) -> bool:
    """Whether at most n of every m weights along the input channels are nonzero."""
    return why_not(weight, m) is None and bool((grouped(weight, m).count_nonzero(dim=-1) <= n).all())


def why_not(weight: Tensor, m: int) -> str | None:
    """Why a weight cannot be divided into groups of m input channels; None where it can."""
    if weight.ndim < 2:
        return "it has no input channels"
    if weight.shape[1] % m:
        return f"{weight.shape[1]} input channel{'s are' if weight.shape[1] != 1 else ' is'} not a multiple of {m}"
    return None
