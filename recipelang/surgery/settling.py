"""Which of the chosen channels can be removed together: trials of all, of sorts that are alike, and of halves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from recipelang.surgery.coupled import Removable
from recipelang.surgery.cutting import Chosen, CuttingTrial


@dataclass(frozen=True)
class Settled:
    """What can be removed of what was chosen.

    Attributes:
        chosen: group → its units that can go.
        stay: group → why they cannot.
        found: knows more numbers of the code that have to be changed.
    """

    chosen: Chosen
    stay: Mapping[str, str]
    found: Removable


def settle(trial: CuttingTrial, found: Removable, chosen: Chosen) -> Settled:
    """The groups of which these units can be removed together, and why those that stay do.

    All at once. Where that fails, one group of each sort alone, then all sorts that passed; where that fails, halves.
    Numbers of the code that turn out to be wrong without the channels are changed with them.
    """
    stay: dict[str, str] = {}

    def refused(names: Sequence[str]) -> str:
        nonlocal found
        why, found = trial.changed(found, {name: chosen[name] for name in names}) if names else ("", found)
        return why

    wanted = [name for name, units in chosen.items() if len(units)]
    if not refused(wanted):
        return Settled({name: chosen[name] for name in wanted}, {}, found)
    passed: list[str] = []
    for alike in _sorts(trial.module, found, wanted):
        if why := refused(alike[:1]):
            stay |= dict.fromkeys(alike, why)
        else:
            passed += alike
    good: list[str] = []

    def halve(names: list[str]) -> None:
        if not (why := refused([*good, *names])):
            good.extend(names)
        elif len(names) == 1:
            stay[names[0]] = why
        else:
            halve(names[: len(names) // 2])
            halve(names[len(names) // 2 :])

    if passed:
        halve([name for name in wanted if name in passed])
    return Settled({name: chosen[name] for name in good}, stay, found)


def _sorts(module: nn.Module, found: Removable, names: Sequence[str]) -> list[list[str]]:
    """Groups put together where they lie in the same axes of the same parameters of modules of the same classes, as
    the first, second, … group of those that a module makes."""
    sorts: dict[frozenset[Any], list[str]] = {}
    made: dict[tuple[str, int], list[tuple[int, str]]] = {}
    for group in found.groups:
        for place in group.at("makes"):
            made.setdefault((place.name, place.axis), []).append((place.positions[0][0], group.name))
    order = {(place, name): number for place, each in made.items() for number, (_, name) in enumerate(sorted(each))}
    for name in names:
        places = set()
        for place in found.group(name).places:
            path, _, leaf = place.name.rpartition(".")
            above, _, last = path.rpartition(".")
            classes = tuple(type(module.get_submodule(part)) for part in (above, path))
            number = order.get(((place.name, place.axis), name))
            places.add((*classes, "" if last.isdigit() else last, leaf, place.axis, number))
        sorts.setdefault(frozenset(places), []).append(name)
    return list(sorts.values())
