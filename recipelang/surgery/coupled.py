"""Channels that can be removed, in groups: what is coupled to them, and the numbers that belong to each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy
import torch
from torch import Tensor

#: what a tensor has to do with a channel: nothing but to hold a number of it, or to add, scale, take or make it
ROLES = ("holds", "shifts", "scales", "reads", "makes")
#: a number in the code: module, a call that its code makes (`forward:2`), number among the arguments
Place = tuple[str, str, int]
FILTERS, NEURONS, HEADS = KINDS = ("filters", "neurons", "heads")


@dataclass(frozen=True)
class ChannelAxis:
    """Where a parameter or buffer holds the channels of a group.

    Attributes:
        name: in the state dict.
        axis: of the tensor.
        role: `makes` (the filters of a convolution, the rows of a linear layer), `shifts` (biases, β), `scales` (γ),
            `reads` (the input channels of what follows) or `holds` (running statistics, slopes).
        positions: unit → the indices along the axis that are removed with it.
    """

    name: str
    axis: int
    role: str
    positions: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Coupled:
    """Units of channels that are alike in all that they touch: any of them may be removed but the last.

    Attributes:
        name: the module that makes them, and a number where several groups have that name.
        kind: `filters` of a convolution, `neurons` of a linear layer, or `heads` of attention.
        places: every tensor that holds them, in the order of the network.
    """

    name: str
    kind: str
    places: tuple[ChannelAxis, ...]

    @property
    def size(self) -> int:
        """The number of units."""
        return len(self.places[0].positions)

    def at(self, *roles: str) -> tuple[ChannelAxis, ...]:
        """The places of these roles."""
        return tuple(place for place in self.places if place.role in roles)

    @property
    def makers(self) -> tuple[str, ...]:
        """The modules that make the channels, in the order of the network."""
        return tuple(dict.fromkeys(module_of(place.name) for place in self.at("makes")))


@dataclass(frozen=True, eq=False)
class ChannelOperation:
    """An operation of the graph with the channel of every index.

    Attributes:
        path: of the module that called it. `name`: of the operator.
        given: arguments by name; for a tensor the channels of each of its axes.
        outs: the channels of each axis of its outputs.
    """

    path: str
    name: str
    given: Mapping[str, Any]
    outs: tuple[tuple[numpy.ndarray, ...], ...]


@dataclass(frozen=True, eq=False)
class Followed:
    """What an edit needs to know of the graph.

    Attributes:
        channels: how many there are, of any kind.
        held: parameter or buffer → the channel of every index of each axis.
        operations: of the graph, in their order.
        normalised: (parameter, axis) where each index is divided by its norm.
        units: name of a group → the channel of each of its units.
        sources: (module, attribute, number in it) → the numbers in calls that it gave.
        counted: number in a call of the code → the channels that it counts.
        fixed: of these the numbers that the code does not find by itself once channels are gone.
        computing: modules whose code computes with its attributes, which therefore stay: a scale from the number of
            channels and of heads. All of the sizes that they give are among `fixed`.
    """

    channels: int
    held: Mapping[str, tuple[numpy.ndarray, ...]]
    operations: tuple[ChannelOperation, ...]
    normalised: frozenset[tuple[str, int]]
    units: Mapping[str, numpy.ndarray]
    sources: Mapping[tuple[str, str, int], frozenset[Place]]
    counted: Mapping[Place, numpy.ndarray] = field(default_factory=dict)
    fixed: frozenset[Place] = frozenset()
    computing: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Removable:
    """Which channels of a network can be removed.

    Attributes:
        groups: in the order of the network; each was removed in a trial.
        frozen: module or group → why all of its channels stay.
        followed: the graph.
        unfolded: the layers of attention that were followed in the form of `surgery.headed`.
        attentive: of the frozen modules those that make heads.
    """

    groups: tuple[Coupled, ...]
    frozen: Mapping[str, str]
    followed: Followed = field(repr=False, compare=False)
    unfolded: tuple[str, ...] = ()
    attentive: frozenset[str] = frozenset()

    def group(self, name: str) -> Coupled:
        """The group of this name.

        Raises:
            KeyError: there is none.
        """
        for group in self.groups:
            if group.name == name:
                return group
        raise KeyError(name)


def unit_rows(group: Coupled, tensors: Mapping[str, Tensor], *roles: str) -> Tensor:
    """The numbers that belong to each unit of a group, one row for each: units × numbers.

    Args:
        group: of the network that the tensors belong to.
        tensors: parameter name → weights, gradients or scores of its shape. Places that are not among them are left
            out; where none is left, the result has no columns.
        roles: of the places to look at; default `makes`.
    """
    rows = [
        tensors[place.name].movedim(place.axis, 0)[torch.tensor(place.positions)].reshape(group.size, -1)
        for place in group.at(*(roles or ("makes",)))
        if place.name in tensors
    ]
    return torch.cat(rows, dim=1) if rows else torch.zeros(group.size, 0)


def module_of(name: str) -> str:
    """The path of the module whose weight a parameter is; of a parametrized weight, that of its layer."""
    path = name.rpartition(".")[0]
    return path.partition(".parametrizations.")[0] if ".parametrizations." in f"{path}." else path
