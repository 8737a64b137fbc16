"""Coupled channels as parts of a network: what `filters`, `neurons` and `heads` share."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakKeyDictionary

from recipelang.catalogue import setting
from recipelang.errors import Refusal
from recipelang.kinds import Criterion, Evidence
from recipelang.kinds.unit import Gone, Group, Offer
from recipelang.methods.units._scores import filter_scores
from recipelang.units import counted, listed

if TYPE_CHECKING:
    from torch import Tensor

    from recipelang.plan import Selection

#: floats that kernels for convolutions and products handle together
BLOCK = 16
#: module → what can be removed from it; stages change no module in place
_FOUND: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()


@dataclass(frozen=True)
class CoupledParts:
    """A unit whose parts are coupled channels; a unit says what makes them: its name is their kind.

    Attributes:
        weighed: the roles of the weights whose elements count for a part (`recipelang.surgery.coupled.ROLES`).
    """

    name: ClassVar[str]
    one: ClassVar[str]
    ranks: ClassVar[str] = "filter"
    scores: ClassVar[tuple[str, ...]] = ("element", "filter", "part", "any")
    many: ClassVar[bool] = True
    weighed: ClassVar[tuple[str, ...]] = ("makes",)

    def find(self, network: Any, selection: Selection) -> Offer:
        """The groups of coupled channels that layers of this kind make.

        Raises:
            Refusal: RCP0910: no channel can be removed; RCP0703: an entry of the selection matches nothing; RCP0718:
                the network cannot be traced.
        """
        return offered_channels(network, self.name, self.one, self._multiple(), selection)

    def aggregate(
        self, criterion: Criterion, scores: Mapping[str, Tensor], evidence: Evidence, groups: Sequence[Group]
    ) -> Mapping[str, Tensor]:
        """Sums over the weights that count for the part, in all coupled layers."""
        return channel_scores(criterion, scores, evidence, groups, self.weighed)

    def totals(
        self, criterion: Criterion, scores: Mapping[str, Tensor], evidence: Evidence, groups: Sequence[Group]
    ) -> Mapping[str, Tensor]:
        """The plain sums of what counts for the part, in all coupled layers."""
        return channel_totals(criterion, scores, groups, self.weighed)

    def edits(self, network: Any, offer: Offer, gone: Gone) -> tuple[Any, ...]:
        """One edit for all of them, and the unfolding of attention that they are in."""
        return channel_edits(network, offer, gone)

    def remove(self, network: Any, offer: Offer, gone: Gone) -> tuple[Any, Mapping[str, str]]:
        """The network without these channels, compared with the one whose weights for them are zero.

        Raises:
            Refusal: RCP0702: the two differ.
        """
        return without_channels(network, offer, gone)

    def _multiple(self) -> int | None:
        """Channels that stay are a multiple of it; None: it depends on the width."""
        return 1


@dataclass(frozen=True)
class CoupledChannels(CoupledParts):
    """Coupled channels whose number is rounded."""

    round: int | None = setting(
        None,
        type="integer",
        low=1,
        help="Widths that stay are a multiple of it; by default of up to 16, depending on the width.",
    )

    def _multiple(self) -> int | None:
        return self.round


def offered_channels(network: Any, kind: str, one: str, round: int | None, selection: Selection) -> Offer:
    """The groups of coupled channels of one kind, with the widths that they may have.

    Args:
        kind: `filters`, `neurons` or `heads`: what makes them.
        one: a channel of it, in words.
        round: channels that stay are a multiple of it; None: `rounding` of the width.
        selection: a group is selected if every layer that makes it is.

    Raises:
        Refusal: RCP0910: no channel of this kind can be removed, with the first reason.
    """
    from recipelang.surgery.selectors import resolve

    found = _removable(network)
    chosen = set(resolve(network.module, selection))
    chosen |= set() if selection.include else {""}  # parameters that the network holds itself are in no module
    groups = []
    stay = {name: why for name, why in found.frozen.items() if kind != "heads" or name in found.attentive}
    for coupled in found.groups:
        if coupled.kind != kind:
            continue
        others = [path for path in coupled.makers if path not in chosen]
        group = _group(coupled, round)
        if others:
            maker = f"`{others[0]}`" if others[0] else "the network itself"
            stay[coupled.name] = f"the selection excludes {maker}, which makes the same channels"
        elif not group.most:
            stay[coupled.name] = f"{counted(group.size, one)}, and a multiple of {group.step} has to stay"
        else:
            groups.append(group)
    if not groups:
        raise Refusal(
            "RCP0910",
            f"no {one} of this network can be removed: {_why_none(found, kind, one, stay)}",
            _instead(sorted({each.kind for each in found.groups if each.kind != kind and chosen >= {*each.makers}})),
        )
    return Offer(tuple(groups), stay, found)


def _instead(kinds: Sequence[str]) -> str:
    """What to do where a kind has nothing: name those that have."""
    layers = "`recipe layers MODEL` lists what can be removed, and why the rest stays"
    if not kinds:
        return layers
    companion = f"`unit={kinds[0]}` among the settings of a companion"
    return f"{listed(kinds)} can be removed here: write `prune {kinds[0]} …`, or {companion}; {layers}"


def _removable(network: Any) -> Any:
    """What `find_removable` finds, once for each module: all kinds are found together."""
    from recipelang.surgery.removable import find_removable

    if network.module not in _FOUND:
        _FOUND[network.module] = find_removable(network)
    return _FOUND[network.module]


def _group(coupled: Any, round: int | None) -> Group:
    wide = max((len(place.positions[0]) for place in coupled.at("makes")), default=1)
    step = step_of(coupled.size, wide, round)
    return Group(coupled.name, coupled.size, step, least=1, layers=coupled.makers, source=coupled)


def rounding(width: int) -> int:
    """The largest power of two that is at most 16 and at most an eighth of the width; 1 below a width of 16."""
    return 1 << (min(BLOCK, width // 8).bit_length() - 1) if width >= 8 else 1


def step_of(size: int, wide: int, round: int | None) -> int:
    """Of how many parts a multiple stays, so that a multiple of `round` channels stays.

    Args:
        size: number of parts.
        wide: channels of one part.
        round: None: the rounding of the width, or less where an eighth of the parts is less.
    """
    if round is not None:
        return round // math.gcd(round, wide)
    chosen = rounding(size * wide)
    while chosen // math.gcd(chosen, wide) > max(1, size // 8):
        chosen //= 2
    return chosen // math.gcd(chosen, wide)


def channel_scores(
    criterion: Criterion,
    scores: Mapping[str, Tensor],
    evidence: Evidence,
    groups: Sequence[Group],
    roles: tuple[str, ...] = ("makes",),
) -> Mapping[str, Tensor]:
    """Scores of channels: of elements the `norm`-th root of the sum over all weights of these roles, in all coupled
    layers; of filters as they are; divided by the group's mean where the criterion is `relative`."""
    from recipelang.surgery.coupled import unit_rows

    found = {}
    for group in groups:
        if criterion.unit == "element":
            rows = unit_rows(group.source, scores, *roles)
            if not rows.shape[1]:
                continue
            score = filter_scores(rows, getattr(criterion, "norm", 1))
        elif group.name in scores:
            score = scores[group.name]
        else:
            continue
        mean = score.mean()
        found[group.name] = score / mean if getattr(criterion, "relative", False) and mean > 0 else score
    return found


def channel_totals(
    criterion: Criterion, scores: Mapping[str, Tensor], groups: Sequence[Group], roles: tuple[str, ...] = ("makes",)
) -> Mapping[str, Tensor]:
    """Sums of the scores of all weights that make a channel, or of `roles`; scores of filters as they are."""
    from recipelang.surgery.coupled import unit_rows

    if criterion.unit != "element":
        return {group.name: scores[group.name] for group in groups if group.name in scores}
    rows = {group.name: unit_rows(group.source, scores, *roles) for group in groups}
    return {name: held.sum(1) for name, held in rows.items() if held.shape[1]}


def channel_edits(network: Any, offer: Offer, gone: Gone) -> tuple[Any, ...]:
    """The edits that remove these channels: one, and the unfolding of attention that they are in."""
    from recipelang.surgery.removal import edits_of

    chosen = {name: tuple(parts) for name, parts in gone.items() if parts}
    return edits_of(network, offer.source, chosen) if chosen else ()


def without_channels(network: Any, offer: Offer, gone: Gone) -> tuple[Any, Mapping[str, str]]:
    """The network without these channels, with parity; groups that had to stay after all → why."""
    from recipelang.surgery.removal import remove_channels

    chosen = {name: tuple(parts) for name, parts in gone.items() if parts}
    if not chosen:
        return network, {}
    removed = remove_channels(network, offer.source, chosen)
    return removed.network, removed.stays


def _why_none(found: Any, kind: str, one: str, stay: Mapping[str, str]) -> str:
    ours = {group.name for group in found.groups if group.kind == kind} | (
        found.attentive if kind == "heads" else set()
    )
    names = [name for name in stay if name in ours]
    if kind == "heads" and not names:
        return "no attention of it has several heads"
    if not stay:
        return f"it has none: no layer makes {kind}"
    first, total = names[0] if names else next(iter(stay)), len(names if kind == "heads" else stay)
    more = f" (and {total - 1} more)" if total > 1 else ""
    return f"`{first}`: {stay[first]}{more}"
