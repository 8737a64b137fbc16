"""How much each part contributes to what the weights that read it sum up, and what removing some of them can change.

A sum z = Σ_k w_k a_k has a positive part z⁺ (of its positive terms) and a negative part z⁻. The share of a part j in
them, at the sample where it is largest, is its empirical sensitivity:

    s_j = max over samples and outputs of max(z⁺_j / z⁺, z⁻_j / z⁻)

Source: Liebenwein, Baykal, Lang, Feldman, Rus, "Provable filter pruning for efficient neural networks", ICLR 2020
(Definition 1, Theorem 3).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from recipelang.measuring.columns import as_matrix, as_weight, spread

#: numbers in one piece of the shares N×rows×O
PIECE = 2**24
#: how many times more than on the samples seen a part may contribute on others (the paper's C = 3K with K = 1)
UNSEEN = 3.0


def sensitivities(rows: Tensor, weight: Tensor, columns: Tensor) -> Tensor:
    """The largest share of each of N parts in the positive or negative part of any output: N numbers of 0 … 1.

    Args:
        rows: G×n×K, what enters the weight.
        weight: O×I×kernel, its outputs in G groups.
        columns: N×(G·c), the columns of G·K that belong to each part, c in every group.
    """
    matrix = as_matrix(weight, columns)
    size = matrix.shape[2]
    found = rows.new_zeros(len(columns))
    each = columns.to(rows.device).unflatten(1, (len(rows), -1))  # N×G×c
    for number, (own, weights) in enumerate(zip(rows, matrix, strict=True)):
        local = each[:, number] - number * size  # N×c
        step = max(1, PIECE // (len(columns) * len(weights)))
        for piece in own.split(step):
            found = torch.maximum(found, _shares(piece, weights, local))
    return found


def _shares(rows: Tensor, weights: Tensor, columns: Tensor) -> Tensor:
    """n×K rows and O×K weights → N, the largest shares of the parts."""
    up, down = rows.clamp_min(0), (-rows).clamp_min(0)
    plus, minus = weights.clamp_min(0), (-weights).clamp_min(0)
    largest = rows.new_zeros(len(columns))
    for first, second in ((plus, minus), (minus, plus)):  # w⁺a⁺ + w⁻a⁻ is the positive part, w⁻a⁺ + w⁺a⁻ the negative
        whole = up @ first.T + down @ second.T  # n×O
        parts = _of_parts(up, first, columns) + _of_parts(down, second, columns)  # N×n×O
        share = torch.where(whole > 0, parts / whole.clamp_min(torch.finfo(whole.dtype).tiny), 0.0)
        largest = torch.maximum(largest, share.amax((1, 2)).clamp_max(1))
    return largest


def _of_parts(rows: Tensor, weights: Tensor, columns: Tensor) -> Tensor:
    """N×n×O: what the columns of each part add to the outputs."""
    return rows.T[columns].mT @ weights.T[columns]


def sampling_error(threshold: float, outputs: int, failure: float, unseen: float = UNSEEN) -> float:
    """ε: how far sums may be off when parts are drawn, relative to the sums of their absolute terms.

    m = S / threshold draws with probabilities s_j / S give, by Bernstein's inequality, all of the sums within
    z⁺(1 ± ε) and z⁻(1 ± ε) with probability 1 − failure, where m = (6 + 2ε) S K log(4 outputs / failure) / ε².

    Args:
        threshold: the sensitivities are divided by it: S / m.
        outputs: how many sums.
        failure: δ.
        unseen: C = 3K, by which contributions may exceed those on the samples; 1 for these samples themselves.
    """
    x = threshold * unseen / 3 * math.log(4 * outputs / failure)
    return x + math.sqrt(x * x + 6 * x)


def inclusion(sensitivity: Tensor, threshold: float) -> Tensor:
    """The probability that a part is drawn at least once: 1 − exp(−s_j / threshold); 1 where nothing is drawn."""
    return -torch.expm1(-sensitivity / threshold) if threshold > 0 else torch.ones_like(sensitivity)


def scaled_columns(weight: Tensor, columns: Tensor, factors: Tensor) -> Tensor:
    """O×I×kernel with the columns N×(G·c) of each of N parts multiplied by its factor."""
    matrix = as_matrix(weight, columns)
    return as_weight(matrix * spread(factors, columns, matrix), weight).contiguous()
