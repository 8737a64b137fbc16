"""Scores of several units on one scale: sums, so that a layer and a few filters can be compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from recipelang.kinds import Criterion, Evidence, Group, Unit
from recipelang.kinds.unit import below
from recipelang.scoring.ranking import Ranking, rank, scores_of
from recipelang.surgery.coupled import unit_rows

#: (unit, group)
Key = tuple[str, str]


@dataclass(frozen=True)
class Member:
    """One unit of several that are ranked together, with what the criterion sees of it."""

    unit: Unit
    groups: tuple[Group, ...]
    evidence: Evidence


Scores = Sequence[Mapping[str, Tensor]]


def rank_together(criterion: Criterion, members: Sequence[Member], scores: Scores) -> tuple[Ranking, ...]:
    """The steps of every group of every unit, with sums of single scores (`kinds.Unit.totals`).

    Args:
        criterion: whose scores add up (`kinds.why_no_sum`).
        members: of the same network.
        scores: of each of them, as of `single_scores`.

    Raises:
        Refusal: as `ranking.rank`.
    """
    found = []
    for one, its in zip(members, scores, strict=True):
        totals = one.unit.totals(criterion, its, one.evidence, one.groups)  # type: ignore[attr-defined]
        found.append(rank(criterion, one.unit, one.evidence, one.groups, scores=totals))
    return tuple(found)


def held_inside(
    criterion: Criterion, members: Sequence[Member], scores: Scores
) -> Mapping[tuple[Key, Key], Sequence[float]]:
    """(layer, group of channels) → of the score of each of its parts, what is inside the layer.

    Scores of elements are summed over the weights inside, those of filters over the weights and norms inside that have
    some; any other score belongs to the layers that make the channel in equal parts.
    """
    criterion = getattr(criterion, "coarse", criterion)
    found: dict[tuple[Key, Key], Sequence[float]] = {}
    layers = [
        (one.unit, layer, its)
        for one, its in zip(members, scores, strict=True)
        if one.unit.ranks == "layer"
        for layer in one.groups
    ]
    for member, its in zip(members, scores, strict=True):
        if member.unit.ranks == "layer":
            continue
        for unit, layer, single in layers:
            for group in member.groups:
                if inside := _inside(criterion, member, its, single, group, layer.layers):
                    found[(unit.name, layer.name), (member.unit.name, group.name)] = inside
    return found


def single_scores(criterion: Criterion, members: Sequence[Member]) -> Scores:
    """What the criterion scores, for each unit; scores of elements are the same for all, and gathered once."""
    criterion = getattr(criterion, "coarse", criterion)
    if criterion.unit != "element":
        return [scores_of(criterion, one.evidence) for one in members]
    widest = next((one for one in members if one.unit.ranks == "layer"), members[0])  # it also has computed weights
    return [scores_of(criterion, widest.evidence)] * len(members)


def _inside(
    criterion: Criterion,
    member: Member,
    scores: Mapping[str, Tensor],
    single: Mapping[str, Tensor],
    group: Group,
    paths: Sequence[str],
) -> Sequence[float]:
    """What is inside these modules of each part's score; () where no layer that makes the parts is.

    Args:
        scores: of the member's groups or weights.
        single: of the weights and norms inside layers.
    """
    makers = [layer for layer in group.layers if any(below(layer, path) for path in paths)]
    if not makers:
        return ()
    share = 1.0
    if criterion.unit == "element":
        here = {name: score for name, score in scores.items() if any(below(name, path) for path in paths)}
        totals = member.unit.totals(criterion, here, member.evidence, [group])  # type: ignore[attr-defined]
    elif criterion.unit == "filter" and hasattr(group.source, "places"):
        here = {name: score for name, score in single.items() if any(below(name, path) for path in paths)}
        totals = {group.name: unit_rows(group.source, here, "makes", "scales").sum(1)}
    else:
        totals = member.unit.totals(criterion, scores, member.evidence, [group])  # type: ignore[attr-defined]
        share = len(makers) / len(group.layers)
    if group.name not in totals:
        return ()
    values: list[float] = (totals[group.name].detach().double().cpu() * share).tolist()
    return values
