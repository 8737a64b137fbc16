"""From a criterion's scores to a ranking: elements are summed to filters, filters averaged to layers.

    element ──sum──▶ filter ──mean──▶ layer          (LayerPrune, thesis Eq 5.1–5.3)

A criterion whose source uses the norm of a filter sets `norm`: the filter's score is the `norm`-th root of the sum.
One that ranks layers with other scores than single weights has `for_layers`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from recipelang.errors import Refusal
from recipelang.kinds import Criterion, Evidence


@dataclass(frozen=True)
class Score:
    """A candidate and its importance."""

    candidate: str
    value: float


def rank_layers(criterion: Criterion, evidence: Evidence) -> tuple[Score, ...]:
    """Every candidate, the least important first; ties in the order of the network.

    Raises:
        Refusal: RCP1006: a score is not a finite number. RCP1007: the criterion cannot score one of the layers.
    """
    criterion = getattr(criterion, "for_layers", criterion)
    scores = criterion.score(evidence)
    if criterion.unit == "element":
        norm = getattr(criterion, "norm", 1)
        filters = {name: filter_scores(s.movedim(evidence.outputs[name], 0), norm) for name, s in scores.items()}
        scores = {layer: _layer_score(layer, names, filters) for layer, names in evidence.layers.items()}
    ranking = []
    for layer in evidence.layers:
        if layer not in scores:
            raise _unscored(layer)
        value = float(scores[layer])
        if not math.isfinite(value):
            raise _not_finite(layer, value)
        ranking.append(Score(layer, value))
    return tuple(sorted(ranking, key=lambda score: score.value))


def score_elements(criterion: Criterion, evidence: Evidence) -> Mapping[str, Tensor]:
    """Parameter name → scores of the weight's shape, for every weight that the criterion can score.

    Raises:
        Refusal: RCP1006: a score is not a finite number. RCP1007: the criterion does not score elements.
    """
    if criterion.unit not in ("element", "any"):
        raise Refusal(
            "RCP1007",
            f"the criterion scores {criterion.unit}s, but single weights are to be ranked",
            "rank weights `by magnitude`, `by wanda` or `by taylor`",
        )
    scores = criterion.score(evidence)
    for name, score in scores.items():
        if not bool(torch.isfinite(score).all()):
            raise _not_finite(name, float("nan"))
    return scores


def filter_scores(scores: Tensor, norm: int = 1) -> Tensor:
    """Scores O×I or O×I×k×k of elements → O of filters: the `norm`-th root of the sum. A vector is one filter."""
    sums = scores.reshape(len(scores) if scores.ndim > 1 else 1, -1).sum(1)
    return sums if norm == 1 else sums.pow(1 / norm)


def _layer_score(layer: str, weights: Sequence[str], filters: Mapping[str, Tensor]) -> Tensor:
    """Mean over all filters of the layer's weights that have scores."""
    scored = [filters[name] for name in weights if name in filters]
    if not scored:
        raise _unscored(layer)
    return torch.cat(scored).mean()


def _unscored(layer: str) -> Refusal:
    return Refusal(
        "RCP1007",
        f"the layer `{layer}` has no convolution or linear weight that the criterion could score",
        f'exclude it with `except "{layer}"`, or rank `by imprint`, which uses activations',
    )


def _not_finite(name: str, value: float) -> Refusal:
    return Refusal(
        "RCP1006",
        f"the importance of `{name}` is {value:g}",
        "its weights contain NaN or infinity: training has diverged, or the weights file is damaged",
    )


def spearman(ranking: Mapping[str, float], other: Mapping[str, float]) -> float:
    """Rank correlation of two scorings of the same layers, −1 … 1 (Spearman 1904; ties get mean ranks).

    Raises:
        ValueError: the two score different layers, or fewer than two, or all scores of one are equal.
    """
    from scipy.stats import rankdata

    if set(ranking) != set(other) or len(ranking) < 2:
        raise ValueError("a rank correlation needs two scorings of the same layers, at least two")
    ranks = [torch.from_numpy(rankdata([scores[name] for name in ranking])).double() for scores in (ranking, other)]
    if any(bool((r == r[0]).all()) for r in ranks):
        raise ValueError("a scoring that gives all layers the same score has no rank correlation")
    return float(torch.corrcoef(torch.stack(ranks))[0, 1])
