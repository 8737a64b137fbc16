"""Reordering the channels of a network: every member of a group is reordered, and the function stays the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from recipelang.errors import Refusal
from recipelang.surgery.candidates import find_layers
from recipelang.surgery.channels import ChannelGroup, Channels, find_channels
from recipelang.surgery.network import Network
from recipelang.surgery.parity import OUTPUT, TOLERANCE, observe, relative_difference
from recipelang.surgery.restricting import carried
from recipelang.surgery.tracing import example_input


@dataclass(frozen=True)
class Reordering:
    """A group of channels and their new order: place k gets the former channel `order[k]`."""

    group: ChannelGroup
    order: tuple[int, ...]

    @property
    def changes(self) -> bool:
        """Whether any channel changes its place."""
        return self.order != tuple(range(len(self.order)))


def reorder(tensors: Mapping[str, Tensor], reorderings: Iterable[Reordering]) -> dict[str, Tensor]:
    """Tensors shaped like parameters, with their channels in the new order.

    Args:
        tensors: by names of parameters or buffers: values, masks or scores. They are not changed.
        reorderings: of groups without common channels.

    Returns:
        Those tensors that hold one of the groups, by name.
    """
    moved: dict[str, Tensor] = {}
    for reordering in reorderings:
        for member in reordering.group.members:
            if member.name in tensors:
                old = moved.get(member.name, tensors[member.name])
                places = torch.tensor(member.positions, device=old.device)
                sources = places[torch.tensor(reordering.order, device=old.device)]
                moved[member.name] = old.index_copy(member.axis, places, old.index_select(member.axis, sources))
    return moved


@torch.no_grad()
def permute(network: Network, reorderings: Iterable[Reordering]) -> Network:
    """A copy of the network with its channels reordered, compared with the original.

    Outputs must agree, and so must the outputs of every layer that could be removed, up to the order of their numbers:
    a network whose head is zero returns zeros for any order of its channels.

    Args:
        network: is not changed, even where this fails. Its restrictions are reordered too.
        reorderings: of groups without common channels.

    Raises:
        Refusal: RCP0719: the network's function changes.
    """
    reorderings = tuple(reordering for reordering in reorderings if reordering.changes)
    permuted = network.clone()
    held = {**dict(permuted.module.named_parameters()), **dict(permuted.module.named_buffers())}
    for name, value in reorder(held, reorderings).items():
        held[name].copy_(value)
    moved = carried(network, lambda name, tensor: reorder({name: tensor}, reorderings).get(name, tensor))
    _require_same_function(network, permuted)
    return replace(permuted, restrictions=moved)


def _require_same_function(network: Network, permuted: Network) -> None:
    example = example_input(network)
    points = [layer.paths[-1] for layer in find_layers(network.module, example)]
    before = observe(network.module, points, lambda: network.module(example))
    after = observe(permuted.module, points, lambda: permuted.module(example))
    for point, reference in before.items():
        value = after[point]
        if point != OUTPUT:  # all numbers in ascending order: the same for any order of the channels
            reference, value = reference.flatten().sort().values, value.flatten().sort().values
        difference = relative_difference(value, reference)
        if not difference <= TOLERANCE:  # also where it is NaN
            where = point if point == OUTPUT else f"`{point}`"
            raise Refusal(
                "RCP0719",
                f"with its channels reordered the network computes a different function: {where} differs by "
                f"{difference:.1e} of its largest magnitude",
                "remove `with permute`",
            )


def require_groups(network: Network, names: Collection[str], pattern: Any) -> tuple[ChannelGroup, ...]:
    """The groups of channels that may be reordered before these weights are pruned.

    Args:
        network: its masks on other weights keep their patterns.
        names: the weights to be pruned.
        pattern: keeps `n` of every `m` input channels.

    Raises:
        Refusal: RCP0718: the network cannot be traced; RCP0720: there is no such group; says why.
    """
    channels = find_channels(network.module, example_input(network))
    groups = prunable(channels, names, pattern.m, network.masks)
    if groups:
        return groups
    reasons = Counter(channels.frozen.get((name, 1), "no two groups of them may be swapped") for name in names)
    why = "; ".join(f"those of {count} weight{'s' * (count > 1)}: {reason}" for reason, count in reasons.most_common(3))
    raise Refusal(
        "RCP0720",
        f"no input channels can be reordered before {pattern}: {why}",
        "remove `with permute`, or name more weights in `in`",
    )


def prunable(
    channels: Channels, names: Collection[str], m: int, masked: Collection[str] = ()
) -> tuple[ChannelGroup, ...]:
    """The groups whose order affects what N:M pruning keeps, each restricted to the channels that may move.

    Every m channels that are pruned together must belong to one group and must be the same m in every weight to be
    pruned; the others stay in place.

    Args:
        channels: of the network.
        names: the weights to be pruned.
        m: how many input channels are pruned together.
        masked: weights that are already in a pattern: none of their input channels may move.

    Returns:
        Groups of at least 2·m channels, a multiple of m, in which every m consecutive ones are pruned together.
    """
    cut = []
    for group in channels.groups:
        inputs = group.at(1)
        if any(member.name in names for member in inputs) and not any(
            member.name in masked and member.name not in names for member in inputs
        ):
            whole = group.take(_whole(group, names, m))
            if whole.size >= 2 * m:
                cut.append(whole)
    return tuple(cut)


def _whole(group: ChannelGroup, names: Collection[str], m: int) -> list[int]:
    """The indices of a group's channels of which every m are pruned together in every weight."""
    blocks: dict[tuple[int, ...], list[int]] = {}
    rows = [member.positions for member in group.at(1) if member.name in names]
    for channel, positions in enumerate(zip(*rows, strict=True)):
        blocks.setdefault(tuple(position // m for position in positions), []).append(channel)
    return [
        channel
        for block in blocks.values()
        if len(block) == m and all([row[channel] % m for channel in block] == list(range(m)) for row in rows)
        for channel in block
    ]


def stacked(scores: Mapping[str, Tensor], group: ChannelGroup) -> Tensor:
    """The scores of all weights that take a group as inputs, one below the other: R×C, C channels of the group.

    A convolution O×C×kh×kw contributes O·kh·kw rows.
    """
    rows = []
    for member in group.at(1):
        if member.name in scores:
            inputs = scores[member.name].movedim(1, -1)
            rows.append(inputs[..., list(member.positions)].reshape(-1, group.size))
    return torch.cat(rows)
