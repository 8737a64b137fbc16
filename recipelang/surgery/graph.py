"""The graph of a network as `torch.export` captures it, and the walk that follows every axis through it."""

from __future__ import annotations

import operator
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from recipelang.errors import Refusal
from recipelang.surgery import axes_attention, axes_blocks, axes_layers, axes_shapes  # noqa: F401  their rules register themselves
from recipelang.surgery.axes import Axes, Dims, OperatorCall, follow
from recipelang.surgery.tracing import evaluating, first_line, hushed

NOT_STORED = "they are not part of the saved weights"
INPUT, OUTPUT = "they are the network's input", "they are the network's output"


class SizesFromValues(Exception):
    """A tensor of the network has a size that depends on values, so that its axes cannot be followed."""


@dataclass(frozen=True)
class GraphStep:
    """One operation of the graph as the walk saw it.

    Attributes:
        path: of the module whose `forward` called it.
        call: its operands. `outs`: the axes of its outputs.
    """

    path: str
    call: OperatorCall
    outs: tuple[Dims, ...]


def capture(module: nn.Module, example: Tensor, otherwise: str = "") -> Any:
    """The network's graph in evaluation mode, a `torch.export.ExportedProgram`.

    Args:
        module: is not changed.
        example: an input, B×C×H×W with B ≥ 2.
        otherwise: what else the help of a refusal proposes.

    Raises:
        Refusal: RCP0718: torch.export cannot capture it.
    """
    try:
        with evaluating(module):
            return export(module, example)
    except Exception as error:  # the module is the user's and may raise anything
        raise Refusal(
            "RCP0718",
            f"the network cannot be traced: {_why_not(error)}",
            f"{otherwise}write the network's `forward` so that `torch.export` can capture it",
        ) from error


def _why_not(error: Exception) -> str:
    """Why a network cannot be captured: the line of its code that asks for values, where torch names it."""
    line = re.search(r'The following call raised this error:\s+File "([^"]+)", line (\d+), in \w+\s+(.+)', str(error))
    if isinstance(error, SizesFromValues):
        return str(error)
    if "data-dependent" in str(error):
        where = f", `{line[3].strip()}` ({Path(line[1]).name}, line {line[2]})" if line else ""
        return f"its code decides by the values of tensors{where}"
    return f"{type(error).__name__}: {first_line(error)}"


def export(module: nn.Module, example: Tensor) -> Any:
    """The network's graph in its present mode.

    Raises:
        SizesFromValues: tensors have sizes that differ from one input to the next.
        Exception: whatever the network or torch raises.
    """
    fast = torch.backends.mha.get_fastpath_enabled()  # one operator for all of attention, which hides its axes
    try:
        torch.backends.mha.set_fastpath_enabled(False)
        with torch.no_grad(), hushed():
            program = torch.export.export(module, (example,), strict=False)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    for node in _used(program.graph.nodes):
        value = node.meta.get("val")
        for tensor in value if isinstance(value, list | tuple) else (value,):
            if isinstance(tensor, Tensor) and not all(type(size) is int for size in tensor.shape):
                raise SizesFromValues(f"how many numbers `{_operator(node)}` gives depends on their values")
    return program


def walk(program: Any, module: nn.Module, axes: Axes, held: dict[str, Dims]) -> list[GraphStep]:
    """Follow every axis through a graph.

    Args:
        program: of `capture`.
        module: the network.
        axes: joins and frozen axes are recorded here.
        held: the axes of every parameter and buffer by name, filled here; those that it already has are used, so that
            several graphs of a network share them. Inputs and constants get names that begin with a blank.

    Returns:
        the operations in their order.
    """
    signature = program.graph_signature
    names = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    canonical, kept, inputs = first_names(module), changeable(module, axes.removing), set(signature.user_inputs)
    values: dict[Any, Any] = {}
    steps: list[GraphStep] = []
    counts: dict[str, int] = {}
    for node in _used(program.graph.nodes):
        value = node.meta.get("val")
        if node.op == "call_function" and node.target is operator.getitem:
            whole, index = node.args
            values[node] = values[whole][index]
        elif node.op == "call_function":
            path = _path(node)
            counts[path] = counts.get(path, 0) + 1
            axes.site = (path, counts[path])
            call, values[node] = _called(node, values, axes)
            steps.append(GraphStep(path, call, tuple(dims_in([values[node]]))))
        elif node.op == "output":
            for dims in dims_in([values.get(arg) for arg in node.all_input_nodes]):
                axes.freeze(dims, OUTPUT)
        elif isinstance(value, Tensor):
            name = canonical.get(names.get(node.name, ""), f" {id(program)} {node.name}")
            if name not in held:
                held[name] = Dims(axes.fresh(size) for size in value.shape)
                if name not in kept:
                    axes.freeze(held[name], INPUT if node.name in inputs else NOT_STORED)
            values[node] = held[name]
    return steps


def _used(nodes: Any) -> list[Any]:
    """The nodes that decide the outputs: what is computed and never read, as the mean of the weights of attention that
    nobody asked for, keeps nothing in its place."""
    used: set[Any] = set()
    for node in reversed(nodes):
        mutates = getattr(getattr(node.target, "_schema", None), "is_mutable", False)
        if node.op != "call_function" or mutates or any(user in used for user in node.users):
            used.add(node)
    return [node for node in nodes if node in used]


def changeable(module: nn.Module, removing: bool) -> set[str]:
    """The parameters and buffers that an edit may change: those that are saved. Where channels are removed, also
    buffers that are not, since whoever builds the network removes them again."""
    names = set(module.state_dict())
    return names | {name for name, _ in module.named_buffers()} if removing else names


def stored(module: nn.Module, held: Mapping[str, Dims], removing: bool = False) -> dict[str, Dims]:
    """The axes of those parameters and buffers that an edit may change."""
    names = changeable(module, removing)
    return {name: dims for name, dims in held.items() if name in names}


def first_names(module: nn.Module) -> dict[str, str]:
    """Every name of a parameter or buffer → the first name of the same tensor."""
    first: dict[int, str] = {}
    pairs = [*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)]
    return {name: first.setdefault(id(tensor), name) for name, tensor in pairs}


def _path(node: Any) -> str:
    """The module whose `forward` called the operation."""
    stack = list((node.meta.get("nn_module_stack") or {"": ("",)}).values())
    return str(stack[-1][0])


def _called(node: Any, values: Mapping[Any, Any], axes: Axes) -> tuple[OperatorCall, Any]:
    """A node of the graph, and the axes of its output: `Dims`, or a list of them."""
    out = node.meta.get("val")
    tensors = [t for t in (out if isinstance(out, list | tuple) else [out]) if isinstance(t, Tensor)]
    shapes = tuple(tuple(t.shape) for t in tensors)
    schema, name = getattr(node.target, "_schema", None), _operator(node)
    given = _bound(schema, node) if schema else dict(enumerate((*node.args, *node.kwargs.values())))
    call = OperatorCall(name, {str(key): _filled(value, values) for key, value in given.items()}, shapes)
    found = follow(axes, node.target, call)
    return call, found[0] if isinstance(out, Tensor) else found


def _operator(node: Any) -> str:
    """The name of a node's operator, without its overload."""
    schema = getattr(node.target, "_schema", None)
    return schema.name.rpartition("::")[2] if schema else str(getattr(node.target, "__name__", node.target))


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


def dims_in(values: list[Any]) -> Iterator[Dims]:
    """The axes of every tensor in a nested list."""
    for value in values:
        if isinstance(value, Dims):
            yield value
        elif isinstance(value, list):
            yield from dims_in(value)
