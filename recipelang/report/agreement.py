"""Rankings of the same units side by side: the rank that each gives to a unit, and how far any two agree."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from recipelang.report.parts import Ranking

MOST_RANKINGS, MOST_UNITS = 12, 60


@dataclass(frozen=True)
class Agreement:
    """Some rankings of the same units.

    Attributes:
        names: of the networks that have each ranking.
        ranks: (unit, its rank in each ranking, 1 the least important; equal scores share the mean of their ranks), in
            the order of the names, numbers counted as such.
        correlations: Spearman's rank correlation of every two rankings, −1 … 1; None where one gives all units the
            same score.
    """

    names: tuple[str, ...]
    ranks: tuple[tuple[str, tuple[float, ...]], ...]
    correlations: tuple[tuple[float | None, ...], ...]

    @property
    def shown(self) -> tuple[tuple[str, tuple[float, ...]], ...]:
        """The units that a page has room for."""
        return self.ranks[:MOST_UNITS]

    @property
    def more(self) -> int:
        """How many units are not shown."""
        return len(self.ranks) - len(self.shown)


def agreements(rankings: Sequence[Ranking]) -> tuple[Agreement, ...]:
    """Where two rankings or more score the same units, at least three; groups of channels are not compared, since a
    group has a mean and no rank."""
    alike: dict[frozenset[str], list[tuple[str, dict[str, float]]]] = {}
    for ranking in rankings:
        scores = {unit.layer: unit.score for unit in ranking.ranked if unit.score is not None and not unit.of}
        if len(scores) > 2:
            alike.setdefault(frozenset(scores), []).append((ranking.name, scores))
    return tuple(_agreement(found[:MOST_RANKINGS]) for found in alike.values() if len(found) > 1)


def _agreement(found: Sequence[tuple[str, Mapping[str, float]]]) -> Agreement:
    units = sorted(found[0][1], key=_in_order)
    columns = [_ranks([scores[unit] for unit in units]) for _, scores in found]
    return Agreement(
        tuple(name for name, _ in found),
        tuple((unit, ranks) for unit, ranks in zip(units, zip(*columns, strict=True), strict=True)),
        tuple(tuple(_correlation(a, b) for b in columns) for a in columns),
    )


def _ranks(scores: Sequence[float]) -> list[float]:
    """The rank of each score from 1 up; equal ones share the mean of theirs."""
    places: dict[float, list[int]] = {}
    for place, score in enumerate(sorted(scores), 1):
        places.setdefault(score, []).append(place)
    return [sum(places[score]) / len(places[score]) for score in scores]


def _in_order(name: str) -> list[tuple[int, str]]:
    """Sorts `layer1.10` after `layer1.9`."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def _correlation(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Pearson's correlation of two lists of ranks."""
    middle = (len(a) + 1) / 2
    left, right = ([rank - middle for rank in ranks] for ranks in (a, b))
    scale = sum(x * x for x in left) * sum(y * y for y in right)
    return sum(x * y for x, y in zip(left, right, strict=True)) / scale**0.5 if scale else None
