"""Which channels of a network may be reordered together, found from its graph and never from a table of names.

The network is captured with `torch.export`, and `axes` follows every axis through it. Channels that lie in the
same axes of the same tensors form a group: any order of them computes the same function, as long as every weight,
bias, norm and running statistic of the group is put into that order.

Idea: Pool and Yu 2021, "Channel Permutations for N:M Sparsity", NeurIPS; there the groups are found by matching layers.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor, nn

from recipelang.errors import Refusal
from recipelang.surgery import axes_layers, axes_shapes  # noqa: F401  their rules register themselves
from recipelang.surgery.axes import Axes, Axis, Call, Dims, follow
from recipelang.surgery.tracing import evaluating, first_line, hushed

NOT_STORED = "they are not part of the saved weights"


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
class Group:
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

    def take(self, channels: list[int]) -> Group:
        """The group of only these channels, by their indices in this one."""
        return Group(tuple(Member(m.name, m.axis, tuple(m.positions[k] for k in channels)) for m in self.members))


@dataclass(frozen=True)
class Channels:
    """What may be reordered, and what may not.

    Attributes:
        groups: of two or more channels, in the order of the first parameter that has them.
        frozen: (parameter, axis) → why the channels there stay in place, where all of them do.
    """

    groups: tuple[Group, ...]
    frozen: Mapping[tuple[str, int], str]


def find_channels(module: nn.Module, example: Tensor) -> Channels:
    """The groups of channels of a network, in evaluation mode.

    Args:
        module: is not changed.
        example: an input, B×C×H×W with B ≥ 2.

    Raises:
        Refusal: RCP0718: torch.export cannot capture the network.
    """
    program = _capture(module, example)
    axes = Axes()
    held = _walk(program, module, axes)
    return _grouped(axes, held)


def _capture(module: nn.Module, example: Tensor) -> Any:
    fast = torch.backends.mha.get_fastpath_enabled()  # one operator for all of attention, which hides its axes
    try:
        torch.backends.mha.set_fastpath_enabled(False)
        with evaluating(module), hushed():
            return torch.export.export(module, (example,), strict=False)
    except Exception as error:  # the module is the user's and may raise anything
        raise Refusal(
            "RCP0718",
            f"the network cannot be traced: {type(error).__name__}: {first_line(error)}",
            "remove `with permute`, or write the network's `forward` so that `torch.export` can capture it",
        ) from error
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


# -- through the graph -------------------------------------------------------------------------------


def _walk(program: Any, module: nn.Module, axes: Axes) -> dict[str, Dims]:
    """Follow every axis; returns the axes of every parameter and buffer by name."""
    signature = program.graph_signature
    names = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    canonical = _canonical(module)
    stored = set(module.state_dict())
    inputs = set(signature.user_inputs)
    held: dict[str, Dims] = {}
    values: dict[Any, Any] = {}
    for node in program.graph.nodes:
        value = node.meta.get("val")
        if node.op == "call_function" and node.target is operator.getitem:
            whole, index = node.args
            values[node] = values[whole][index]
        elif node.op == "call_function":
            values[node] = _call(node, values, axes)
        elif node.op == "output":
            for dims in _dims([values.get(arg) for arg in node.all_input_nodes]):
                axes.freeze(dims, "they are the network's output")
        elif isinstance(value, Tensor):
            name = canonical.get(names.get(node.name, ""), f" {node.name}")  # no parameter has a blank in its name
            if name not in held:
                held[name] = Dims(axes.fresh(size) for size in value.shape)
                if name not in stored:
                    axes.freeze(held[name], "they are the network's input" if node.name in inputs else NOT_STORED)
            values[node] = held[name]
    return {name: dims for name, dims in held.items() if name in stored}


def _canonical(module: nn.Module) -> dict[str, str]:
    """Every name of a parameter or buffer → the first name of the same tensor."""
    first: dict[int, str] = {}
    pairs = [*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)]
    return {name: first.setdefault(id(tensor), name) for name, tensor in pairs}


def _call(node: Any, values: Mapping[Any, Any], axes: Axes) -> Any:
    """The axes of the output of a node of the graph: `Dims`, or a list of them."""
    out = node.meta.get("val")
    tensors = [t for t in (out if isinstance(out, list | tuple) else [out]) if isinstance(t, Tensor)]
    shapes = tuple(tuple(t.shape) for t in tensors)
    schema = getattr(node.target, "_schema", None)
    name = schema.name.rpartition("::")[2] if schema else str(node.target)
    given = _bound(schema, node) if schema else dict(enumerate((*node.args, *node.kwargs.values())))
    filled = {str(key): _filled(value, values) for key, value in given.items()}
    found = follow(axes, node.target, Call(name, filled, shapes))
    return found[0] if isinstance(out, Tensor) else found


def _bound(schema: Any, node: Any) -> dict[str, Any]:
    """Arguments by name, with the defaults of the operator."""
    given = {a.name: a.default_value for a in schema.arguments if a.has_default_value()}
    return given | dict(zip((a.name for a in schema.arguments), node.args, strict=False)) | dict(node.kwargs)


def _filled(value: Any, values: Mapping[Any, Any]) -> Any:
    if isinstance(value, torch.fx.Node):
        return values.get(value)
    if isinstance(value, list | tuple):
        return [_filled(item, values) for item in value]
    return value


def _dims(values: list[Any]) -> Iterator[Dims]:
    for value in values:
        if isinstance(value, Dims):
            yield value
        elif isinstance(value, list):
            yield from _dims(value)


# -- from atoms to groups ----------------------------------------------------------------------------


def _grouped(axes: Axes, held: Mapping[str, Dims]) -> Channels:
    component = _components(axes)
    reasons, why = [reason for _, reason in axes.frozen], numpy.full(component.max(initial=-1) + 1, -1)
    for number in range(len(axes.frozen) - 1, -1, -1):  # backwards, so that the first reason wins
        why[component[axes.frozen[number][0]]] = number
    alike = [channels for channels in _alike([component[axis] for axis in axes.axes], why < 0) if len(channels) > 1]
    members: list[list[Member]] = [[] for _ in alike]
    group = numpy.full(len(why), -1)  # of each channel
    for number, channels in enumerate(alike):
        group[channels] = number
    for name, dims in held.items():
        for k, axis in enumerate(dims):
            present = group[component[axis]]
            for number in numpy.unique(present[present >= 0]).tolist():
                where = numpy.flatnonzero(present == number)
                rows = _positions(component[axis][where], where, len(alike[number]))
                members[number] += (Member(name, k, tuple(row)) for row in rows)
    groups = [Group(tuple(found)) for found in members if found]
    order = {name: number for number, name in enumerate(held)}
    frozen = {
        (name, k): reasons[why[component[axis]][0]]
        for name, dims in held.items()
        for k, axis in enumerate(dims)
        if len(axis) > 1 and (why[component[axis]] >= 0).all()
    }
    return Channels(tuple(sorted(groups, key=lambda group: order[group.members[0].name])), frozen)


def _components(axes: Axes) -> numpy.ndarray:
    """Atom → number of the set of atoms that it is joined to: a channel."""
    empty = numpy.empty(0, dtype=numpy.int64)
    rows = numpy.concatenate([empty, *(a for a, _ in axes.joins)])
    columns = numpy.concatenate([empty, *(b for _, b in axes.joins)])
    graph = coo_array((numpy.ones(len(rows), dtype=numpy.int8), (rows, columns)), shape=(axes.atoms, axes.atoms))
    return connected_components(graph, directed=False)[1]


def _alike(axes: list[Axis], free: numpy.ndarray) -> list[numpy.ndarray]:
    """The free channels, grouped where they are in the same axes, equally often in each.

    Slices and concatenations keep the order of indices, so the first, second, … place of a channel in an axis
    corresponds to the first, second, … of every other channel of its set.
    """
    channel = numpy.concatenate(axes)
    axis = numpy.repeat(numpy.arange(len(axes)), [len(a) for a in axes])
    channel, axis = channel[free[channel]], axis[free[channel]]
    order = numpy.lexsort((axis, channel))
    channel, axis = channel[order], axis[order]
    found: dict[bytes, list[int]] = {}
    starts = numpy.flatnonzero(numpy.diff(channel, prepend=-1))
    for start, end in pairwise([*starts, len(channel)]):
        found.setdefault(axis[start:end].tobytes(), []).append(int(channel[start]))
    return [numpy.array(channels) for channels in found.values()]


def _positions(channels: Axis, where: numpy.ndarray, size: int) -> list[list[int]]:
    """The positions of the channels of a group of this size in an axis: one list each time that it holds them all."""
    order = numpy.argsort(channels, kind="stable")  # in the order of the group's channels, which ascends
    found: list[list[int]] = where[order].reshape(size, -1).T.tolist()
    return found
