"""Which channels of a network may be reordered together, found from its graph and never from a table of names.

The network is captured with `torch.export`, and `axes` follows every axis through it. Channels that lie in the
same axes of the same tensors form a group: any order of them computes the same function, as long as every weight,
bias, norm and running statistic of the group is put into that order.

Idea: Pool and Yu 2021, "Channel Permutations for N:M Sparsity", NeurIPS; there the groups are found by matching layers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy
from torch import Tensor, nn

from recipelang.surgery.atoms import alike, components, first_reasons, positions
from recipelang.surgery.axes import Axes, Dims
from recipelang.surgery.graph import capture, stored, walk


@dataclass(frozen=True)
class Member:
    """Where a parameter or buffer holds the channels of a group.

    Attributes:
        name: in the state dict.
        axis: of the tensor.
        positions: the index of every channel along that axis, in the order of the group's channels.
    """

    name: str
    axis: int
    positions: tuple[int, ...]


@dataclass(frozen=True)
class ChannelGroup:
    """Channels that compute the same function in any order.

    A tensor that holds every channel several times (two copies one after the other) is several members.
    """

    members: tuple[Member, ...]

    @property
    def size(self) -> int:
        """The number of channels."""
        return len(self.members[0].positions)

    def at(self, axis: int) -> tuple[Member, ...]:
        """The members that hold the channels along this axis: 1 for the weights that take them as inputs."""
        return tuple(member for member in self.members if member.axis == axis)

    def take(self, channels: list[int]) -> ChannelGroup:
        """The group of only these channels, by their indices in this one."""
        return ChannelGroup(
            tuple(Member(m.name, m.axis, tuple(m.positions[k] for k in channels)) for m in self.members)
        )


@dataclass(frozen=True)
class Channels:
    """What may be reordered, and what may not.

    Attributes:
        groups: of two or more channels, in the order of the first parameter that has them.
        frozen: (parameter, axis) → why the channels there stay in place, where all of them do.
    """

    groups: tuple[ChannelGroup, ...]
    frozen: Mapping[tuple[str, int], str]


def find_channels(module: nn.Module, example: Tensor) -> Channels:
    """The groups of channels of a network, in evaluation mode.

    Args:
        module: is not changed.
        example: an input, B×C×H×W with B ≥ 2.

    Raises:
        Refusal: RCP0718: torch.export cannot capture the network.
    """
    program = capture(module, example, "remove `with permute`, or ")
    axes = Axes()
    held: dict[str, Dims] = {}
    walk(program, module, axes, held)
    return _grouped(axes, stored(module, held))


def _grouped(axes: Axes, held: Mapping[str, Dims]) -> Channels:
    component = components(axes)
    why = first_reasons(axes, component)
    sets = [channels for channels in alike([component[axis] for axis in axes.axes], why < 0) if len(channels) > 1]
    members: list[list[Member]] = [[] for _ in sets]
    group = numpy.full(len(why), -1)  # of each channel
    for number, channels in enumerate(sets):
        group[channels] = number
    for name, dims in held.items():
        for k, axis in enumerate(dims):
            for number, rows in positions(component[axis], group, sets):
                members[number] += (Member(name, k, tuple(row)) for row in rows.T.tolist())
    groups = [ChannelGroup(tuple(found)) for found in members if found]
    order = {name: number for number, name in enumerate(held)}
    frozen = {
        (name, k): axes.frozen[why[component[axis]][0]][1]
        for name, dims in held.items()
        for k, axis in enumerate(dims)
        if len(axis) > 1 and (why[component[axis]] >= 0).all()
    }
    return Channels(tuple(sorted(groups, key=lambda group: order[group.members[0].name])), frozen)
