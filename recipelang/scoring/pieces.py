"""Scores of the weights that a pattern keeps or removes: of single weights, or of the channels that filters make."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from recipelang.catalogue import find
from recipelang.errors import Refusal
from recipelang.kinds import PATTERN_SCORES, Criterion, Group
from recipelang.scoring.evidence import Gathered
from recipelang.scoring.ranking import part_scores, require_finite, score_elements, scores_of
from recipelang.surgery.coupled import FILTERS, Removable, module_of
from recipelang.surgery.network import Network
from recipelang.surgery.removable import find_removable

#: why the filters of a weight have no scores where nothing else is known
UNRANKED = "not all of its channels can be removed, and those that stay are not ranked"


@dataclass(frozen=True)
class PieceScores:
    """How a criterion scores the weights of a network, element by element.

    Attributes:
        criterion: of single weights, or of filters.
        found: the coupled channels, where it ranks filters: a filter has the score of its channel.
    """

    criterion: Criterion
    found: Removable | None = None

    def of(self, evidence: Gathered) -> Mapping[str, Tensor]:
        """Parameter name → scores of the weight's shape; the names of a network of the same architecture.

        Raises:
            Refusal: RCP1006: a score is not a finite number. RCP1007: the criterion scores none of the weights.
        """
        if self.found is None:
            return score_elements(self.criterion, evidence)
        groups = tuple(
            Group(group.name, group.size, layers=group.makers, source=group)
            for group in self.found.groups
            if group.kind == FILTERS
        )
        channels = replace(evidence, unit="filter", groups=groups)
        if hasattr(self.criterion, "members"):  # which may score weights or filters
            filters: Any = find("unit", "filters")
            scores = part_scores(self.criterion, filters(), channels, groups)
        else:
            scores = scores_of(self.criterion, channels)
        require_finite(scores)
        weights = dict(evidence.network.module.named_parameters(remove_duplicate=False))
        rows: dict[str, Tensor] = {}
        for group in groups:
            for place in group.source.at("makes") if group.name in scores else ():
                whole = torch.full((weights[place.name].shape[place.axis],), torch.nan, dtype=torch.float64)
                row = rows.setdefault(place.name, whole)
                for unit, positions in zip(scores[group.name].detach().double().cpu(), place.positions, strict=True):
                    row[list(positions)] = unit
        known = {name: row for name, row in rows.items() if not bool(row.isnan().any())}
        if not known:
            what = "BatchNorm" if "batchnorm" in self.criterion.needs else "convolution"
            message = f"no filter of this network has a {what} that the criterion could score"
            raise Refusal("RCP1007", message, "rank `by magnitude` or `by taylor`, which score weights")
        return {
            name: row.reshape(-1, *(1,) * (weights[name].ndim - 1)).expand(weights[name].shape).clone()
            for name, row in known.items()
        }

    def unscored(self, names: Collection[str], scored: Collection[str]) -> dict[str, str]:
        """Parameter name → why it has no score, for those of `names` that are not `scored`, although they could be."""
        own = getattr(self.criterion, "name", type(self.criterion).__name__)
        why = "no input reaches it" if self.found is None else f"`{own}` finds nothing in it to score"
        return {name: why for name in names if name not in scored}

    def without_channels(self, network: Network, names: Collection[str]) -> dict[str, str]:
        """Parameter name → why it can have no score, as far as the network tells."""
        if self.found is None:
            return {}
        known: dict[str, set[int]] = {}
        for group in self.found.groups:
            for place in group.at("makes") if group.kind == FILTERS else ():
                known.setdefault(place.name, set()).update(*place.positions)
        weights = dict(network.module.named_parameters(remove_duplicate=False))
        unknown = [name for name in names if len(known.get(name, ())) < len(weights[name])]
        return {name: self.found.frozen.get(module_of(name), UNRANKED) for name in unknown}


def piece_scores(criterion: Criterion, network: Network) -> PieceScores:
    """How a criterion scores the weights of this network.

    Raises:
        Refusal: RCP0718: the criterion ranks filters, and the network's channels cannot be traced.
    """
    return PieceScores(criterion, None if criterion.unit in PATTERN_SCORES else find_removable(network))
