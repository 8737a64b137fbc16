"""`layers`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from recipelang.catalogue import method
from recipelang.errors import Refusal
from recipelang.kinds import Criterion, Evidence
from recipelang.kinds.unit import Gone, Group, Offer
from recipelang.lazy import torch
from recipelang.methods.units._scores import filter_scores

if TYPE_CHECKING:
    from torch import Tensor

    from recipelang.plan import Selection


@method("unit", "layers")
@dataclass(frozen=True)
class Layers:
    """Whole layers: residual blocks, and plain layers that keep the shape of their input.

    Found by: removing each once in a trial; `recipe layers MODEL` shows them, and why others stay.
    Scores: the mean over the filters of the layer (LayerPrune, Eq 5.1–5.3), or the score of a criterion that ranks
        layers.
    Effect: the layer is replaced with its skip connection; every other module keeps its path and its width.
    Source: Elkerdawy et al., "To filter prune, or to layer prune, that is the question", ACCV 2020.
    """

    one: ClassVar[str] = "layer"
    ranks: ClassVar[str] = "layer"
    scores: ClassVar[tuple[str, ...]] = ("element", "filter", "layer", "part", "any")
    many: ClassVar[bool] = False

    def find(self, network: Any, selection: Selection) -> Offer:
        """The layers that can be removed.

        Raises:
            Refusal: RCP0910: none can be removed; RCP0703: an entry of the selection matches nothing.
        """
        from recipelang.surgery.selectors import select_layers
        from recipelang.surgery.tracing import example_input
        from recipelang.surgery.trial import survey

        found = survey(network.module, example_input(network))
        free = select_layers(network.module, found.layers, selection)
        if not free:
            raise Refusal(
                "RCP0910",
                f"no layer of this network can be removed: {_why_none(found)}",
                "`recipe layers MODEL` lists what can be removed",
            )
        return Offer(tuple(map(as_group, free)), found.stay)

    def aggregate(
        self, criterion: Criterion, scores: Mapping[str, Tensor], evidence: Evidence, groups: Sequence[Group]
    ) -> Mapping[str, Tensor]:
        """The mean over all filters of the layer that have scores."""
        if criterion.unit in ("layer", "part", "any"):
            return {group.name: scores[group.name].reshape(1) for group in groups if group.name in scores}
        filters = dict(scores)
        if criterion.unit == "element":
            norm = getattr(criterion, "norm", 1)
            filters = {
                name: filter_scores(score.movedim(evidence.outputs[name], 0), norm) for name, score in scores.items()
            }
        found = {}
        for group in groups:
            inside = [filters[name] for name in _inside(group, filters, evidence)]
            if inside:
                found[group.name] = torch.cat(inside).mean().reshape(1)
        return found

    def totals(
        self, criterion: Criterion, scores: Mapping[str, Tensor], evidence: Evidence, groups: Sequence[Group]
    ) -> Mapping[str, Tensor]:
        """The sum of all scores of weights or filters inside the layer; the score of the layer where it has one."""
        if criterion.unit not in ("element", "filter"):
            return self.aggregate(criterion, scores, evidence, groups)
        inside = {group.name: _inside(group, scores, evidence) for group in groups}
        return {
            name: torch.stack([scores[one].double().sum() for one in names]).sum().reshape(1)
            for name, names in inside.items()
            if names
        }

    def edits(self, network: Any, offer: Offer, gone: Gone) -> tuple[Any, ...]:
        """The removal of these layers, in the order given."""
        from recipelang.surgery.edits import remove

        layers = {group.name: group.source for group in offer.groups}
        return tuple(remove(layers[name]) for name, parts in gone.items() if parts)

    def remove(self, network: Any, offer: Offer, gone: Gone) -> tuple[Any, Mapping[str, str]]:
        """The network without these layers, each removal checked for parity.

        Raises:
            Refusal: RCP0702: a removal changes more than that layer.
        """
        from recipelang.surgery.edits import apply_edits

        return apply_edits(network, self.edits(network, offer, gone)), {}


def as_group(layer: Any) -> Group:
    """A removable layer (`recipelang.surgery.candidates.Candidate`) as a group of one part."""
    return Group(layer.name, layers=layer.paths, source=layer, joins=layer.kind == "plain")


def _inside(group: Group, names: Mapping[str, Any], evidence: Evidence) -> list[str]:
    """The names of the parameters inside a layer; a weight that several layers share is inside each."""
    weights = evidence.layers.get(group.name, ())
    own = (name for name in names if any(name.startswith(path + ".") for path in group.layers))
    return list(dict.fromkeys([*(name for name in weights if name in names), *own]))


def _why_none(found: Any) -> str:
    if found.layers:
        return "the selection excludes all of them"
    first = next(iter(found.stay), None)
    if first is None:
        return "it has no residual block and no plain layer that keeps its input's shape"
    more = f" (and {len(found.stay) - 1} more)" if len(found.stay) > 1 else ""
    return f"`{first}`: {found.stay[first]}{more}"
