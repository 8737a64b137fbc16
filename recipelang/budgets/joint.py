"""The removal of parts of several units from one network: layers and filters, filters and neurons.

A layer takes what is inside it along, so the filters of a removed layer are not removed any more. Layers are removed
first, and channels of the network without them. Where a layer has a skip connection, the channels around it stay what
they were, so that a network that is only measured can be cut before it loses layers, without finding channels again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from recipelang.budgets.removal import Removal, parts_of
from recipelang.errors import Refusal
from recipelang.kinds import Offer, RemovalStep, Unit
from recipelang.scoring.compensating import corrected
from recipelang.surgery.edits import apply_edits
from recipelang.surgery.network import Network

#: (unit, group) → why it had to stay after all
Stays = Mapping[tuple[str, str], str]
Parts = Mapping[str, Sequence[int]]


@dataclass(frozen=True)
class JointRemoval:
    """The removal of ranked parts of some units from one network.

    Attributes:
        removals: one for each unit, of the same network.
        find: what a network offers of a unit: channels are found again after layers were removed.
    """

    removals: tuple[Removal, ...]
    find: Callable[[Unit, Network], Offer]

    @property
    def network(self) -> Network:
        """What loses parts."""
        return self.removals[0].network

    def on(self, network: Network) -> JointRemoval:
        """The same removals from a network with other values."""
        return replace(self, removals=tuple(replace(one, network=network, _last=[]) for one in self.removals))

    def surviving(self, steps: Sequence[RemovalStep]) -> list[RemovalStep]:
        """The steps without those whose parts vanish with a layer that is removed too."""
        groups = {(r.unit.name, g.name): g for r in self.removals for g in r.offer.groups}
        whole = {removal.unit.name for removal in self._layers}
        paths = self._paths(steps)
        return [step for step in steps if step.unit in whole or not groups[step.unit, step.group].inside(paths)]

    def _paths(self, steps: Sequence[RemovalStep]) -> list[str]:
        """The modules of the layers that these steps remove."""
        layers = {(r.unit.name, g.name): g.layers for r in self._layers for g in r.offer.groups}
        return [path for step in steps for path in layers.get((step.unit, step.group), ())]

    def vanishing(self, removal: Removal, steps: Sequence[RemovalStep]) -> list[str]:
        """The groups of a unit that the layers removed with these steps take along."""
        if removal.unit.ranks == "layer":
            return []
        paths = self._paths(steps)
        return [group.name for group in removal.offer.groups if group.inside(paths)]

    def tried(self, steps: Sequence[RemovalStep]) -> Network:
        """The network without these parts, for a measurement: nothing is compared."""
        if len(self.removals) == 1:
            return self.removals[0].tried(steps)
        gone = self._gone(steps)
        if any(group.joins for one in self._layers for group in one.offer.groups if group.name in gone[one.unit.name]):
            return self._made(gone, exact=False)[0]
        network = self._corrected(gone) if self.removals[0].judged else self.removals[0].network
        layers = [(removal, gone[removal.unit.name]) for removal in self._layers]
        for removal, parts in (*self._channels(gone), *layers):
            network = apply_edits(network, removal.unit.edits(network, removal.offer, parts), check=False)
        return network

    def made(self, steps: Sequence[RemovalStep]) -> tuple[Network, Stays]:
        """The network without these parts, each removal with parity; groups that had to stay after all → why.

        Raises:
            Refusal: RCP0702: it computes something else than the network in which they are neutralised. RCP1006: a
                corrected weight is not finite.
        """
        if len(self.removals) == 1:
            (removal,) = self.removals
            network, stays = removal.made(steps)
            return network, {(removal.unit.name, name): why for name, why in stays.items()}
        return self._made(self._gone(steps), exact=True)

    def remark(self, steps: Sequence[RemovalStep]) -> str:
        """What the criterion says of the removal of each unit."""
        staying = self.surviving(steps)
        said = [removal.remark([s for s in staying if s.unit == removal.unit.name]) for removal in self.removals]
        return "; ".join(dict.fromkeys(filter(None, said)))

    @property
    def _layers(self) -> tuple[Removal, ...]:
        return tuple(removal for removal in self.removals if removal.unit.ranks == "layer")

    def _gone(self, steps: Sequence[RemovalStep]) -> dict[str, dict[str, list[int]]]:
        """Unit → group → the parts that these steps remove and no layer takes along."""
        staying = self.surviving(steps)
        names = [removal.unit.name for removal in self.removals]
        return {name: parts_of([step for step in staying if step.unit == name]) for name in names}

    def _channels(self, gone: Mapping[str, Parts]) -> Iterator[tuple[Removal, Parts]]:
        """What is removed of units of channels; of those that one edit removes together, the first with the parts of
        all: an index counts the channels that were there before any of them was cut."""
        for same in self._by_source():
            parts = {name: numbers for removal in same for name, numbers in gone[removal.unit.name].items()}
            if parts:
                yield same[0], parts

    def _by_source(self) -> list[list[Removal]]:
        """The units of channels, those together whose offers have the same source."""
        found: list[list[Removal]] = []
        for removal in self.removals:
            source = removal.offer.source
            same = [group for group in found if source is not None and group[0].offer.source is source]
            if removal.unit.ranks == "layer":
                continue
            if same:
                same[0].append(removal)
            else:
                found.append([removal])
        return found

    def _corrected(self, gone: Mapping[str, Parts]) -> Network:
        """The network with the values that the criterion gives to what stays."""
        network = self.removals[0].network
        for removal in self.removals:
            network = corrected(removal.criterion, removal.evidence, network, gone[removal.unit.name]).network
        return network

    def _made(self, gone: Mapping[str, Parts], exact: bool) -> tuple[Network, Stays]:
        """Layers are removed, and then channels of the network without them; `exact`: with parity."""
        network = self._corrected(gone) if exact or self.removals[0].judged else self.removals[0].network
        stays: dict[tuple[str, str], str] = {}
        fewer = False
        for removal in self._layers:
            if parts := gone[removal.unit.name]:
                network, kept = _leave(removal.unit, removal.offer, network, parts, exact)
                stays |= {(removal.unit.name, name): why for name, why in kept.items()}
                fewer = True
        for same in self._by_source():
            network, kept_of = self._cut(same, network, gone, fewer, exact)
            stays |= kept_of
        return network, stays

    def _cut(
        self, same: Sequence[Removal], network: Network, gone: Mapping[str, Parts], fewer: bool, exact: bool
    ) -> tuple[Network, Stays]:
        """Channels of units that one edit removes; `fewer`: whether layers were removed since they were found."""
        chosen: dict[str, Sequence[int]] = {}
        whose: dict[str, tuple[str, str]] = {}
        stays: dict[tuple[str, str], str] = {}
        offer = same[0].offer
        for removal in same:
            unit, parts = removal.unit, gone[removal.unit.name]
            if not parts:
                continue
            names: Mapping[str, str] = {name: name for name in parts}
            if fewer:
                offer, names, lost = self._again(removal, network, parts)
                stays |= {(unit.name, name): why for name, why in lost.items()}
            chosen |= {new: parts[old] for old, new in names.items()}
            whose |= {new: (unit.name, old) for old, new in names.items()}
        if not chosen:
            return network, stays
        smaller, kept = _leave(same[0].unit, offer, network, chosen, exact)
        return smaller, {**stays, **{whose[name]: why for name, why in kept.items()}}

    def _again(
        self, removal: Removal, network: Network, parts: Parts
    ) -> tuple[Offer, Mapping[str, str], Mapping[str, str]]:
        """What the network offers after it has lost layers; group before → group now, and groups that are not there
        any more → why."""
        try:
            offer = self.find(removal.unit, network)
        except Refusal as refusal:
            return removal.offer, {}, dict.fromkeys(parts, refusal.message)
        names, lost = {}, {}
        before = {group.name: group for group in removal.offer.groups}
        for name in parts:
            old = before[name]
            now = [g.name for g in offer.groups if g.size == old.size and g.layers and set(g.layers) <= set(old.layers)]
            if now:
                names[name] = now[0]
            else:
                lost[name] = "other channels are coupled to it once layers are removed"
        return offer, names, lost


def _leave(unit: Unit, offer: Offer, network: Network, parts: Parts, exact: bool) -> tuple[Network, Mapping[str, str]]:
    """The network without these parts; with parity where it is to be `exact`."""
    if exact:
        left: tuple[Network, Mapping[str, str]] = unit.remove(network, offer, parts)
        return left
    return apply_edits(network, unit.edits(network, offer, parts), check=False), {}
