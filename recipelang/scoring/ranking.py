"""From a criterion's scores to a ranking of what may be removed, the least important first.

    element ──sum──▶ filter ──mean──▶ layer          (LayerPrune, thesis Eq 5.1–5.3)
                       └──sum over coupled layers──▶ channel

The unit aggregates (`kinds.Unit.aggregate`); parts of a group are removed in steps that leave widths the group may
have. In which order the groups lose theirs is for an allocation (`kinds.Allocation`) to say.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from recipelang.contracts import refuse_broken
from recipelang.errors import Refusal
from recipelang.kinds import Criterion, Evidence, Group, Queue, RemovalStep, Unit
from recipelang.scoring.listed import listed
from recipelang.scoring.passes import serve
from recipelang.scoring.together import together

#: fewer things have no order worth a number
FEWEST = 3


@dataclass(frozen=True)
class Ranking:
    """What may be removed of one unit.

    Attributes:
        queues: of every group that is scored and may lose a part, in the order of the network.
        means: group → the mean score of its parts.
        unscored: groups that hold nothing that the criterion scores.
    """

    queues: tuple[Queue, ...]
    means: Mapping[str, float]
    unscored: tuple[str, ...] = ()

    @property
    def steps(self) -> tuple[RemovalStep, ...]:
        """Those of all groups, the least important first; ties in the order of the network."""
        return tuple(sorted((step for queue in self.queues for step in queue.steps), key=lambda step: step.score))


def rank(
    criterion: Criterion,
    unit: Unit,
    evidence: Evidence,
    groups: Sequence[Group],
    *,
    scores: Mapping[str, Tensor] | None = None,
) -> Ranking:
    """The steps of every group, the least important first; an allocation (`kinds.Allocation`) joins them.

    Args:
        criterion: listed what it needs; it is given nothing else.
        unit: aggregates the scores.
        evidence: of the network that offers the groups.
        groups: that may lose parts.
        scores: group → scores of its parts, where they are known; by default `part_scores`.

    Raises:
        Refusal: RCP1006: a score is not a finite number. RCP1007: the criterion cannot score one of a few layers, or
            any of many groups. RCP1020: it asks for evidence that it does not list.
    """
    scores = part_scores(criterion, unit, evidence, groups) if scores is None else scores
    unscored = tuple(group.name for group in groups if group.name not in scores)
    if unscored and (not unit.many or len(unscored) == len(groups)):
        raise _unscored(criterion, unit, unscored[0], getattr(evidence, "simulates", False))
    queues, means = [], {}
    for group in groups:
        if group.name in scores:
            values = scores[group.name].detach().double().cpu()
            if not bool(torch.isfinite(values).all()):
                raise _not_finite(group.name, float(values[~torch.isfinite(values)][0]))
            means[group.name] = float(values.mean())
            steps = tuple(_steps(group, values, unit.name))
            queues += [Queue(group, tuple(values.tolist()), steps, unit.name)] if steps else []
    return Ranking(tuple(queues), means, unscored)


def part_scores(criterion: Criterion, unit: Unit, evidence: Evidence, groups: Sequence[Group]) -> Mapping[str, Tensor]:
    """Group → one score for each of its parts, of the groups that the criterion can score; errors as `scores_of`."""
    members: Sequence[Criterion] = getattr(criterion, "members", ())
    if members:
        each = together([partial(part_scores, member, unit, evidence, groups) for member in members], serve)
        return _combined(criterion, each)
    criterion = getattr(criterion, "coarse", criterion)
    return unit.aggregate(criterion, scores_of(criterion, evidence), evidence, groups)


def _combined(criterion: Any, scores: Sequence[Mapping[str, Tensor]]) -> Mapping[str, Tensor]:
    """The scores of a criterion that has members."""
    for each in scores:
        require_finite(each)
    combined: Mapping[str, Tensor] = criterion.combine(scores)
    return combined


def _steps(group: Group, scores: Tensor, unit: str) -> list[RemovalStep]:
    """The parts of a group in order of their scores, cut where a multiple of `group.step` stays."""
    order = scores.sort(stable=True).indices.tolist()
    found: list[RemovalStep] = []
    taken, least = 0, -math.inf
    while taken < group.most:
        left = (group.size - taken - 1) // group.step * group.step
        parts = tuple(order[taken : group.size - left])
        least = max(least, float(scores[list(parts)].mean()))  # rounding must not put a later step first
        found.append(RemovalStep(group.name, parts, least, unit))
        taken = group.size - left
    return found


def score_elements(criterion: Criterion, evidence: Evidence) -> Mapping[str, Tensor]:
    """Parameter name → scores of the weight's shape, for every weight that the criterion can score.

    Raises:
        Refusal: RCP1006: a score is not a finite number. RCP1007: the criterion does not score elements. RCP1020: it
            asks for evidence that it does not list.
    """
    if criterion.unit not in ("element", "any"):
        raise Refusal(
            "RCP1007",
            f"the criterion scores {criterion.unit}s, but single weights are to be ranked",
            "rank weights `by magnitude`, `by wanda` or `by taylor`",
        )
    scores = scores_of(criterion, evidence)
    if evidence.weights and not scores:
        raise Refusal("RCP1007", "the criterion scores none of these weights", "rank `by magnitude` or `by taylor`")
    require_finite(scores)
    return scores


def require_finite(scores: Mapping[str, Tensor]) -> None:
    """Refuse scores that are not finite numbers (RCP1006)."""
    for name, score in scores.items():
        if not bool(torch.isfinite(score).all()):
            raise _not_finite(name, float("nan"))


def scores_of(criterion: Criterion, evidence: Evidence) -> Mapping[str, Tensor]:
    """What a criterion scores.

    Raises:
        Refusal: RCP0255: it does not return tensors by name, or not in the shapes of the weights. RCP1020: it asks for
            evidence that it does not list.
    """
    members: Sequence[Criterion] = getattr(criterion, "members", ())
    if members:
        return _combined(criterion, together([partial(scores_of, member, evidence) for member in members], serve))
    scores = criterion.score(listed(evidence, criterion))
    if not isinstance(scores, Mapping) or not all(isinstance(score, Tensor) for score in scores.values()):
        wrong = [f"`score` returns {type(scores).__name__} instead of tensors by name"]
    elif criterion.unit == "element":
        of = {name: tuple(score.shape) for name, score in scores.items()}
        wrong = [f"`score` has no weight `{name}`" for name in of if name not in evidence.weights]
        wrong += [
            f"the scores of `{name}` have the shape {of[name]}, its weight {tuple(weight.shape)}"
            for name, weight in evidence.weights.items()
            if of.get(name, tuple(weight.shape)) != tuple(weight.shape)
        ][:1]
    else:
        wrong = []
    refuse_broken("criterion", getattr(criterion, "name", "?"), type(criterion), wrong)
    return scores


def _unscored(criterion: Any, unit: Unit, group: str, rounded: bool) -> Refusal:
    if rounded and "network" in criterion.needs:
        return Refusal(
            "RCP1007",
            f"the criterion changes what enters a weight while the network runs, and weights of this {unit.one}"
            f" (`{group}`) are quantized: they are rounded before each product, where it does not recognise them",
            "write `prune` before `quantize`, or rank `by magnitude` or `by taylor`",
        )
    what = "BatchNorm" if "batchnorm" in criterion.needs else "convolution or linear weight"
    if unit.many:
        message = f"no {unit.one} of this network has a {what} that the criterion could score"
        return Refusal("RCP1007", message, "rank `by magnitude` or `by taylor`, which score weights")
    return Refusal(
        "RCP1007",
        f"the {unit.one} `{group}` has no {what} that the criterion could score",
        f'exclude it with `except "{group}"`, or rank `by imprint`, which uses activations',
    )


def _not_finite(name: str, value: float) -> Refusal:
    return Refusal(
        "RCP1006",
        f"the importance of `{name}` is {value:g}",
        "its weights contain NaN or infinity: training has diverged, or the weights file is damaged",
    )


def rank_correlation(pairs: Sequence[tuple[Tensor, Tensor]]) -> float | None:
    """Spearman's rank correlation of two scorings, within each pair of tensors; the mean weighted by their elements.

    Args:
        pairs: two scores of the same things, of the same shape; pairs of fewer than three, or with one score for all,
            have no order and are left out.

    Returns:
        −1 … 1; None where no pair is left.
    """
    from scipy.stats import rankdata

    total, count = 0.0, 0
    for pair in pairs:
        one, other = (torch.from_numpy(rankdata(scores.detach().cpu().double().flatten())) for scores in pair)
        if len(one) >= FEWEST and all(bool((ranks != ranks[0]).any()) for ranks in (one, other)):
            total += len(one) * float(torch.corrcoef(torch.stack((one, other)))[0, 1])
            count += len(one)
    return total / count if count else None


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
