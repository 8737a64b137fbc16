"""Which channels of a network can be removed, found from its graph and confirmed by removing them in a trial.

Channels that meet, in a sum, a depthwise convolution, a concatenation, are removed together; `axes` follows them as for
reordering, with the rules that `axes_removal` and `axes_blocks` add. What may be removed according to these rules is
then removed, some of every group, from a copy with random parameters, and compared with the copy in which the
parameters of these channels are zero.

Idea: Fang et al. 2023, "DepGraph: Towards Any Structural Pruning", CVPR, whose rules connect layers.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy
from torch import Tensor, nn

from recipelang.surgery.atoms import alike, components, first_reasons, positions
from recipelang.surgery.axes import Dims
from recipelang.surgery.axes_attention import heads_among, with_heads
from recipelang.surgery.axes_removal import Removing
from recipelang.surgery.counting import counted_by
from recipelang.surgery.coupled import (
    FILTERS,
    HEADS,
    NEURONS,
    ROLES,
    ChannelAxis,
    ChannelOperation,
    Coupled,
    Followed,
    Removable,
    module_of,
    unit_rows,
)
from recipelang.surgery.cutting import CuttingTrial
from recipelang.surgery.graph import GraphStep, capture, export, stored, walk
from recipelang.surgery.headed import foldable, unfolded
from recipelang.surgery.network import Network
from recipelang.surgery.roles import CONVOLVES, MAKES, role, roles_of
from recipelang.surgery.settling import settle
from recipelang.surgery.sizes import observed
from recipelang.surgery.tracing import evaluating, example_input
from recipelang.surgery.without_numbers import few_images

__all__ = ["Coupled", "ChannelAxis", "Removable", "find_removable", "follow_channels", "unit_rows"]

#: how often the graph is walked, each time with other choices of factors
WALKS = 6
LAYERS = (nn.modules.conv._ConvNd, nn.Linear, nn.Bilinear, nn.Embedding, nn.RNNBase, nn.RNNCellBase)
UNUSED = "the network's answer does not depend on it"
ALONE = "all of them are coupled into one"


def find_removable(network: Network) -> Removable:
    """The groups of channels of a network that can be removed, each of two or more units.

    Args:
        network: is not changed.

    Raises:
        Refusal: RCP0718: torch.export cannot capture the network.
    """
    module, example = network.module, example_input(network)
    few = few_images(module, example)
    unfolding = foldable(module, few)
    with unfolded(module, unfolding):
        found = replace(follow_channels(module, example), unfolded=unfolding)
    if not found.groups:
        return found
    chance = random.Random(0)
    # Not as many of each: numbers that would have to be equal then show.
    counts = [min(g.size - 1, max(1, g.size * 3 // 10 + number % 3)) for number, g in enumerate(found.groups)]
    some = {g.name: sorted(chance.sample(range(g.size), count)) for g, count in zip(found.groups, counts, strict=True)}
    settled = settle(CuttingTrial(module, few, found), found, some)
    groups = tuple(group for group in found.groups if group.name in settled.chosen)
    frozen = {**found.frozen, **settled.stay}
    makers = {maker for group in groups for maker in group.makers}
    for name, why in settled.stay.items():
        frozen |= {maker: why for maker in found.group(name).makers if maker not in makers and maker not in frozen}
    return replace(settled.found, groups=groups, frozen=frozen)


def follow_channels(module: nn.Module, example: Tensor) -> Removable:
    """What may be removed according to the rules of the operations, not confirmed by a trial.

    Args:
        module: is not changed.
        example: an input, B×C×H×W with B ≥ 2.

    Raises:
        Refusal: RCP0718: torch.export cannot capture the network.
    """
    programs = _captured(module, example)
    axes, held, steps = _walked(module, programs)
    component = components(axes)
    why = first_reasons(axes, component)
    roles = roles_of(axes.atoms, held, [step.call for step in steps])
    held = stored(module, held, axes.removing)
    numbered = {name: tuple(component[axis] for axis in dims) for name, dims in held.items()}
    makers = {(name, k): roles[axis].max(initial=0) for name, dims in held.items() for k, axis in enumerate(dims)}
    made = numpy.zeros(len(why), numpy.int8)  # by what each channel is made
    for (name, k), code in makers.items():
        made[numbered[name][k]] = numpy.maximum(made[numbered[name][k]], code)
    sets = [s for s in alike([component[axis] for axis in axes.axes], (why < 0) & (made >= MAKES)) if len(s) > 1]
    heads = heads_among(axes, component, len(why))
    kinds = [HEADS if heads[s[0]] else FILTERS if made[s[0]] == CONVOLVES else NEURONS for s in sets]
    groups, units = _groups(sets, kinds, numbered, {place: role(code) for place, code in makers.items()}, len(why))
    frozen = {
        module_of(name): axes.frozen[why[row][why[row] >= 0].min()][1] if (why[row] >= 0).any() else ALONE
        for (name, k), code in makers.items()
        if code >= MAKES and not any(maker == module_of(name) for group in groups for maker in group.makers)
        for row in [numbered[name][k]]
    }
    rows = with_heads(axes, component, heads)
    attentive = {
        module_of(name) for (name, k), code in makers.items() if code >= MAKES and rows[numbered[name][k]].any()
    }
    reasons = [axes.frozen[number][1] if number >= 0 else "" for number in why]
    frozen |= _unnamed(module, numbered, reasons, {m for group in groups for m in group.makers} | set(frozen), programs)
    with evaluating(module):
        sources, calls = observed(module, lambda: module(few_images(module, example)))
    operations = tuple(_numbered(step, component) for step in steps)
    followed = Followed(
        channels=len(why),
        held=numbered,
        operations=operations,
        normalised=frozenset(
            (name, k)
            for name, dims in held.items()
            for k, axis in enumerate(dims)
            if any(axis is other for other in axes.normalised)
        ),
        units=units,
        sources=sources,
        counted=counted_by(calls, operations),
    )
    return Removable(groups, frozen, followed, attentive=frozenset(attentive & frozen.keys()))


def _unnamed(
    module: nn.Module,
    numbered: Mapping[str, tuple[numpy.ndarray, ...]],
    reasons: Sequence[str],
    named: set[str],
    programs: Sequence[Any],
) -> dict[str, str]:
    """Why those layers stay that make no channel of their own: their weight is computed, or takes no part.

    Args:
        numbered: parameter → the channel of every index of each axis. `reasons`: channel → why it stays, or "".
        named: layers that are already accounted for.
    """
    used = set()
    for program in programs:
        names = program.graph_signature.inputs_to_parameters
        used |= {names[node.name] for node in program.graph.nodes if node.name in names and node.users}
    found: dict[str, str] = {}
    for path, part in module.named_modules():
        if not isinstance(part, LAYERS) or path in named:
            continue
        mine = [name for name in numbered if module_of(name) == path]
        if mine and not used.intersection(mine):
            found[path] = UNUSED
        elif mine:
            channels = [channel for name in mine for row in numbered[name] for channel in row]
            found[path] = next((reasons[channel] for channel in channels if reasons[channel]), ALONE)
    return found


def _captured(module: nn.Module, example: Tensor) -> list[Any]:
    """The graph in evaluation mode; and that in training mode, where it uses parameters that evaluation does not."""
    programs = [capture(module, example)]
    names = programs[0].graph_signature.inputs_to_parameters
    if any(node.name in names and not node.users for node in programs[0].graph.nodes):
        modes = [(part, part.training) for part in module.modules()]
        buffers = {name: value.clone() for name, value in module.named_buffers()}
        try:
            programs.append(export(module.train(), example))
        except Exception:  # the module is the user's; a trial says what does not train without its channels
            pass
        finally:
            for part, training in modes:
                part.training = training
            for name, value in module.named_buffers():
                value.copy_(buffers[name])
    return programs


def _walked(module: nn.Module, programs: Sequence[Any]) -> tuple[Removing, dict[str, Dims], list[GraphStep]]:
    """The axes of all graphs, walked until no other choice of factors would free more."""
    orders: dict[Any, list[int]] = {}
    for number in range(WALKS):
        axes, held, steps = Removing(exploring=number == 0, orders=orders), dict[str, Dims](), list[GraphStep]()
        for program in programs:
            steps += walk(program, module, axes, held)
        component = components(axes)
        why = first_reasons(axes, component)
        tried = axes.lost((why < 0)[component], heads_among(axes, component, len(why))[component])
        if number and not tried:
            break
        orders = {**axes.options, **tried}
    return axes, held, steps


def _groups(
    sets: Sequence[numpy.ndarray],
    kinds: Sequence[str],
    numbered: dict[str, tuple[numpy.ndarray, ...]],
    roles: dict[tuple[str, int], str],
    channels: int,
) -> tuple[tuple[Coupled, ...], dict[str, numpy.ndarray]]:
    """The groups in the order of the network, and the channels of their units by name."""
    places: list[list[ChannelAxis]] = [[] for _ in sets]
    group = numpy.full(channels, -1)
    for number, members in enumerate(sets):
        group[members] = number
    for name, rows in numbered.items():
        for k, row in enumerate(rows):
            for number, where in positions(row, group, sets):
                places[number].append(ChannelAxis(name, k, roles[name, k], tuple(map(tuple, where.tolist()))))
    order = {name: number for number, name in enumerate(numbered)}
    first = [next(place.name for place in found if place.role == ROLES[MAKES]) for found in places]
    groups: list[Coupled] = []
    units: dict[str, numpy.ndarray] = {}
    for number in sorted(range(len(sets)), key=lambda number: order[first[number]]):
        path = module_of(first[number]) or first[number]  # a parameter of the network itself
        alike_named = sum(other == path or other.startswith(f"{path} (") for other in units)
        name = f"{path} ({alike_named + 1})" if alike_named else path
        groups.append(Coupled(name, kinds[number], tuple(places[number])))
        units[name] = sets[number]
    return tuple(groups), units


def _numbered(step: GraphStep, component: numpy.ndarray) -> ChannelOperation:
    """A step with channels instead of atoms."""

    def rows(value: Any) -> Any:
        return tuple(component[axis] for axis in value) if isinstance(value, Dims) else value

    given = {key: rows(value) for key, value in step.call.given.items()}
    return ChannelOperation(step.path, step.call.name, given, tuple(map(rows, step.outs)))
