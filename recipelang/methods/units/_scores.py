"""Scores of single weights as scores of filters."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def filter_scores(scores: Tensor, norm: int = 1) -> Tensor:
    """Scores O×I or O×I×k×k of elements → O of filters: the `norm`-th root of the sum. A vector is one filter."""
    sums = scores.reshape(len(scores) if scores.ndim > 1 else 1, -1).sum(1)
    return sums if norm == 1 else sums.pow(1 / norm)
