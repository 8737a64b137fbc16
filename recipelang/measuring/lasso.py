"""The groups of a network that `ssl` shrinks, and what it leaves of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from recipelang import catalogue
from recipelang.errors import Refusal
from recipelang.kinds import Decided, Figure, Finished, Offer, Unit
from recipelang.measuring.grouping import Grouping, Groups, collapsed
from recipelang.measuring.structures import blocks, columns, parts
from recipelang.measuring.zeroed import block_norms, column_masks, part_norms, unread_parts
from recipelang.plan import Selection
from recipelang.surgery.masks import eligible
from recipelang.surgery.network import Network
from recipelang.units import counted

#: sorts of groups that are columns of weights, and whether the positions of a kernel are columns of their own
COLUMNS = {"channels": False, "shapes": True}


@dataclass(frozen=True)
class Offered:
    """What the network offers of a unit whose parts may be gone at the end.

    Attributes:
        unit, offer: as of `Unit.find`.
        own: whether its parts have groups of their own.
        unread: whether its parts go that nothing reads any more.
    """

    unit: Unit
    offer: Offer
    own: bool
    unread: bool


@dataclass(frozen=True)
class Lassoed:
    """The groups of a network.

    Attributes:
        groupings: sort → its groups.
        offered: the units whose parts may be gone at the end.
        weights: the names of those that have columns.
        words: what was found, for a plan.
    """

    groupings: Mapping[str, Grouping]
    offered: tuple[Offered, ...] = ()
    weights: tuple[str, ...] = ()
    words: tuple[str, ...] = ()


class LassoState(nn.ModuleDict):
    """The groups of each sort at work."""

    def __init__(self, found: Lassoed) -> None:
        super().__init__({sort: Groups(grouping) for sort, grouping in found.groupings.items()})
        self.found = found

    def each(self) -> list[Groups]:
        """Those of all sorts."""
        return [groups for groups in self.values() if isinstance(groups, Groups)]


class _Columns:
    """Which weights have columns: as a pattern of weights asks it."""

    grouped = False

    def refuses(self, weight: Tensor) -> str | None:
        return None


def look_for_groups(network: Network, sorts: Sequence[str], unit: Unit, selection: Selection) -> Lassoed:
    """The groups of these sorts.

    Args:
        network: is not changed; on any device.
        sorts: `parts` of `unit`, `depth`, `channels`, `shapes`, in the order in which they are shrunk.
        unit: coupled channels or layers.
        selection: the modules to look at.

    Raises:
        Refusal: RCP0910: a sort has no group; RCP0703: an entry of the selection matches nothing; RCP0718: the network
            cannot be traced.
    """
    network = network.on_cpu()  # where channels are followed
    groupings, offered, words = dict[str, Grouping](), list[Offered](), list[str]()
    names: tuple[str, ...] = ()
    unread = "channels" in sorts
    for sort in sorts:
        if sort in COLUMNS:
            names = names or _weights(network, selection)
            grouping = columns(network, names, kernel=COLUMNS[sort])
            assert grouping
            what = "input channel" if sort == "channels" else "column"
            count = len(grouping.labels)
            words.append(f"{count:,} {what}{'s' * (count != 1)} of {counted(len(names), 'weight')} may become zero")
        else:
            one: Any = unit if sort == "parts" else catalogue.find("unit", "layers")()  # type: ignore[misc]
            offer, grouping = _of_unit(network, one, selection)
            offered.append(Offered(one, offer, own=True, unread=unread and one.ranks == "filter"))
            count = len(grouping.labels)
            words.append(f"{count:,} {one.one if count == 1 else one.name} may become zero and be removed")
        groupings[sort] = grouping
    if unread:
        offered += _unread(network, selection, {one.unit.name for one in offered})
    return Lassoed(groupings, tuple(offered), names, tuple(words))


def finished(network: Network, state: LassoState) -> Finished:
    """Masks of columns of zeros, and the decision to remove parts of zeros.

    Args:
        network: the trained one, on the CPU.
        state: of its training.
    """
    found = state.found
    decided = _without_vanishing([_decided(network, each) for each in found.offered])
    kernel = "shapes" in found.groupings
    masks = column_masks(network, found.weights, kernel=kernel) if found.weights else {}
    reached: tuple[Figure, ...] = ()
    if found.weights:
        what = f"{'have' if len(masks) != 1 else 'has'} {'columns' if kernel else 'input channels'} of zeros"
        reached = (Figure(what, len(masks), noun="weight", of=len(found.weights)),)
    return Finished(
        network.restricted(masks),
        tuple(one for one in decided if one.scores),
        reached,
        tuple(f"`{name}` is {mask.pattern}" for name, mask in masks.items()),
        note=_collapsed(state),
    )


def _of_unit(network: Network, unit: Any, selection: Selection) -> tuple[Offer, Grouping]:
    """What a network offers of a unit, and its parts as groups."""
    offer = unit.find(network, selection)
    grouped = (
        blocks(network, offer.groups) if unit.ranks == "layer" else parts(network, offer.groups, normalised(offer))
    )
    if grouped.grouping is None:
        name, why = next(iter(grouped.stay.items()))
        raise Refusal(
            "RCP0910",
            f"no {unit.one} of this network can become zero: `{name}`: {why}",
            "`recipe layers MODEL` lists what can be removed",
        )
    groups = tuple(group for group in offer.groups if group.name not in grouped.stay)
    return replace(offer, groups=groups, stay={**offer.stay, **grouped.stay}), grouped.grouping


def normalised(offer: Offer) -> frozenset[tuple[str, int]]:
    """(parameter, axis) where each index is divided by its norm, in an offer of coupled channels."""
    found: frozenset[tuple[str, int]] = offer.source.followed.normalised
    return found


def _weights(network: Network, selection: Selection) -> tuple[str, ...]:
    """The weights that have columns."""
    names, dense = eligible(network, _Columns(), selection)  # type: ignore[arg-type]
    if not names:
        reasons = "; ".join(f"`{name}`: {why}" for name, why in list(dense.items())[:3])
        raise Refusal(
            "RCP0910",
            f"no weight of this network has columns that can become zero: {reasons or 'the selection contains none'}",
            "leave `channels` and `shapes` out",
        )
    return names


def _unread(network: Network, selection: Selection, known: set[str]) -> list[Offered]:
    """The units whose parts go where nothing reads them any more; none of a network that cannot be traced."""
    offered = []
    for name in ("filters", "neurons"):
        unit: Any = catalogue.find("unit", name)()  # type: ignore[misc]
        if name in known:
            continue
        try:
            offered.append(Offered(unit, unit.find(network, selection), own=False, unread=True))
        except Refusal:  # it has none of this unit, or cannot be traced: then its columns are masked
            continue
    return offered


def _decided(network: Network, offered: Offered) -> Decided:
    """Which parts are gone."""
    unit, offer = offered.unit, offered.offer
    if unit.ranks == "layer":
        norms = block_norms(network, offer.groups)
        return Decided(unit, offer, norms, {name: norm == 0 for name, norm in norms.items()})
    norms = part_norms(network, offer.groups, normalised(offer))
    gone = {name: (norm == 0) & offered.own for name, norm in norms.items()}
    if offered.unread:
        gone = {name: gone[name] | parts for name, parts in unread_parts(network, offer.groups).items() if name in gone}
    return Decided(unit, offer, norms, gone)


def _without_vanishing(decided: Sequence[Decided]) -> list[Decided]:
    """The decisions without those about parts inside of blocks that are gone: these take them along."""
    blocks_gone = [
        path
        for one in decided
        if one.unit.ranks == "layer"
        for group in one.offer.groups
        if bool(one.gone[group.name].all())
        for path in group.layers
    ]
    vanishing = {
        group.name
        for one in decided
        for group in one.offer.groups
        if one.unit.ranks != "layer" and group.inside(blocks_gone)
    }

    def left(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: value for name, value in values.items() if name not in vanishing}

    return [
        one if one.unit.ranks == "layer" else replace(one, scores=left(one.scores), gone=left(one.gone))
        for one in decided
    ]


def _collapsed(state: LassoState) -> str:
    """Which layers the penalty would have made zero but for one group."""
    names = [groups.grouping.labels[k] for groups in state.each() for k in groups.spared.nonzero().flatten().tolist()]
    return collapsed(names)
