"""What of a network a training may make zero as a group: parts that units remove, columns of weights, whole blocks.

parts     all numbers that make a channel: its filters, their biases, γ and β of the norms after them
channels  the inputs of a weight that read one channel, W[:, c]
shapes    one column of the matrix that a convolution is computed with, W[:, c, y, x]
blocks    all parameters of a layer that its skip connection replaces
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from recipelang.kinds import Group
from recipelang.measuring.grouping import Grouping, Slices
from recipelang.surgery.coupled import ChannelAxis, Coupled
from recipelang.surgery.network import Network

#: what a part consists of: where all of it is zero, so is the part's channel
MAKING = ("makes", "scales", "shifts")


@dataclass(frozen=True)
class Grouped:
    """A grouping, and what is in none of its groups.

    Attributes:
        grouping: None where nothing is left.
        stay: layer → why its parts are left alone.
    """

    grouping: Grouping | None
    stay: Mapping[str, str]


def parts(network: Network, groups: Sequence[Group], normalised: frozenset[tuple[str, int]] = frozenset()) -> Grouped:
    """One group of numbers for each part that may be removed; one part of each of its groups has to stay.

    Args:
        network: is not changed.
        groups: of coupled channels, as the units of `prune` find them.
        normalised: (parameter, axis) where each index is divided by its norm; its gain makes the channel alone.
    """
    parameters = dict(network.module.named_parameters(remove_duplicate=False))
    found: dict[tuple[str, int], Tensor] = {}
    labels, families, stay = list[str](), list[int](), dict[str, str]()
    for family, group in enumerate(groups):
        coupled: Coupled = group.source
        places = making(coupled, parameters, normalised)
        if frozen := [place.name for place in places if not parameters[place.name].requires_grad]:
            stay[group.name] = f"`{frozen[0]}` is frozen"
            continue
        for place in places:
            owners = found.setdefault(
                (place.name, place.axis), torch.full((parameters[place.name].shape[place.axis],), -1)
            )
            for number, positions in enumerate(place.positions, len(labels)):
                owners[list(positions)] = number
        labels += [group.name] * coupled.size
        families += [family] * coupled.size
    slices = [Slices(name, (axis,), owners) for (name, axis), owners in found.items()]
    return Grouped(_grouping(labels, slices, families), stay)


def making(
    coupled: Coupled, parameters: Mapping[str, Any], normalised: frozenset[tuple[str, int]] = frozenset()
) -> tuple[ChannelAxis, ...]:
    """Where parameters hold the numbers that make channels, each parameter once where several names share it."""
    once: dict[tuple[int, int], ChannelAxis] = {}
    for place in coupled.at(*MAKING):
        if place.name in parameters and (place.name, place.axis) not in normalised:
            once.setdefault((id(parameters[place.name]), place.axis), place)
    return tuple(once.values())


def columns(network: Network, names: Iterable[str], *, kernel: bool) -> Grouping | None:
    """One group for each input channel of each weight, or for each input channel at each position of its kernel.

    Args:
        network: is not changed.
        names: weights O×I or O×I×kernel; of each, one column has to stay.
        kernel: whether positions of a kernel are groups of their own.
    """
    labels, slices, families = list[str](), list[Slices](), list[int]()
    for family, name in enumerate(names):
        weight = network.module.get_parameter(name)
        axes = tuple(range(1, weight.ndim)) if kernel else (1,)
        shape = [weight.shape[axis] for axis in axes]
        count = torch.Size(shape).numel()
        slices.append(Slices(name, axes, torch.arange(len(labels), len(labels) + count).reshape(shape)))
        labels += [name] * count
        families += [family] * count
    return _grouping(labels, slices, families)


def blocks(network: Network, groups: Sequence[Group]) -> Grouped:
    """One group for each layer that its skip connection replaces: all of its parameters.

    Args:
        network: is not changed.
        groups: of layers, as the unit `layers` finds them. Those without a skip connection are left alone.
    """
    labels, slices, stay = list[str](), list[Slices](), dict[str, str]()
    for group in groups:
        if group.joins:
            stay[group.name] = "no skip connection carries its input past it"
            continue
        inside = {
            id(parameter): (f"{path}.{name}", parameter)
            for path in group.layers
            for name, parameter in network.module.get_submodule(path).named_parameters()
        }
        if frozen := [name for name, parameter in inside.values() if not parameter.requires_grad]:
            stay[group.name] = f"`{frozen[0]}` is frozen"
            continue
        slices += [Slices(name, (), torch.tensor(len(labels))) for name, _ in inside.values()]
        labels.append(group.name)
    return Grouped(_grouping(labels, slices, [-1] * len(labels)), stay)


def _grouping(labels: Sequence[str], slices: Sequence[Slices], families: Sequence[int]) -> Grouping | None:
    return Grouping(tuple(labels), tuple(slices), torch.tensor(families, dtype=torch.long)) if labels else None
