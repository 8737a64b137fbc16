"""Residual branches of a flat graph as modules of their own, so that they can be removed as layers.

A branch is what lies between a value and a sum of this value with another, `x + f(x)`, where nothing else enters `f`
and nothing else reads what is inside. Inner branches come before those around them.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable

import torch
from torch import Tensor, fx, nn

SUMS = (torch.add, operator.add)


def with_branches(module: fx.GraphModule) -> fx.GraphModule:
    """The module with each branch `f` of a sum `x + f(x)` in a module, which is named after the layers in it.

    Args:
        module: with a flat graph; is changed.
    """
    for node in list(module.graph.nodes):
        if node.op != "call_function" or node.target not in SUMS or len(node.args) != 2:
            continue
        for skipped, out in (node.args, node.args[::-1]):
            inside = _between(skipped, out, node)
            if inside and any(_holds_weights(module, each) for each in inside):
                _enclose(module, inside, skipped, out)
                break
    module.graph.lint()
    module.recompile()
    return module


def _between(start: object, end: object, total: fx.Node) -> list[fx.Node]:
    """The nodes from `start` to `end` in the order of the graph; [] where these are not a branch of a sum."""
    if not isinstance(start, fx.Node) or not isinstance(end, fx.Node) or start is end:
        return []
    inside: dict[fx.Node, None] = {}
    waiting = [end]
    while waiting:
        node = waiting.pop()
        if node is start or node in inside:
            continue
        if node.op == "placeholder":
            return []
        inside[node] = None
        waiting += node.all_input_nodes
    for node in inside:
        if any(user not in inside and not (node is end and user is total) for user in node.users):
            return []
    if not any(start in node.all_input_nodes for node in inside):
        return []
    return [node for node in total.graph.nodes if node in inside]


def _holds_weights(module: nn.Module, node: fx.Node) -> bool:
    return node.op == "call_module" and any(True for _ in module.get_submodule(str(node.target)).parameters())


def _enclose(module: fx.GraphModule, inside: list[fx.Node], start: fx.Node, end: fx.Node) -> None:
    """Put these nodes into a module that takes `start` and returns `end`."""
    held = [node for node in inside if node.op in ("call_module", "get_attr")]
    weights = [str(node.target) for node in held if node.op == "get_attr" or _holds_weights(module, node)]
    prefix = _common([path for path in weights if "." in path])
    root, graph = nn.Module(), fx.Graph()
    values = {start: graph.placeholder("x")}
    for node in inside:
        values[node] = graph.node_copy(node, lambda given: values[given])
        if node in held:
            values[node].target = _move(module, str(node.target), root, prefix)
    graph.output(values[end])
    name = _free(module, prefix)
    branch = fx.GraphModule(root, graph, "Branch")
    _put(module, name, branch)
    with module.graph.inserting_after(end):
        call = module.graph.call_module(name, (start,))
    end.replace_all_uses_with(call)
    for node in reversed(inside):
        module.graph.erase_node(node)


def _common(paths: Iterable[str]) -> str:
    """The longest path that all of these are below."""
    same = []
    for parts in zip(*(path.split(".")[:-1] for path in paths), strict=False):
        if len(set(parts)) > 1:
            break
        same.append(parts[0])
    return ".".join(same)


def _move(module: nn.Module, path: str, root: nn.Module, prefix: str) -> str:
    """Take a module, parameter or buffer out of the network and put it below another root; its path there."""
    inner = path.removeprefix(f"{prefix}.") if prefix else path
    where, _, leaf = path.rpartition(".")
    place = module.get_submodule(where)
    found = getattr(place, leaf)
    delattr(place, leaf)
    while where and not any(True for _ in (*place.children(), *place.parameters(), *place.buffers())):
        where, _, leaf = where.rpartition(".")
        place = module.get_submodule(where)
        if type(getattr(place, leaf)) is not nn.Module:
            break
        delattr(place, leaf)
    _put(root, inner, found)
    return inner


def _put(root: nn.Module, path: str, what: nn.Module | Tensor) -> None:
    *parts, leaf = path.split(".")
    for part in parts:
        if part not in root._modules:
            root.add_module(part, nn.Module())
        root = root.get_submodule(part)
    if isinstance(what, nn.Module):
        root.add_module(leaf, what)
    elif isinstance(what, nn.Parameter):
        root.register_parameter(leaf, what)
    else:
        root.register_buffer(leaf, what)


def _free(module: nn.Module, prefix: str) -> str:
    """A name for the branch of layers below `prefix`: this itself where all of them are in the branch."""
    start = f"{prefix}." if prefix else ""
    taken = {name for name, _ in module.named_modules()}
    taken |= {name for name, _ in (*module.named_parameters(), *module.named_buffers())}
    if prefix and prefix not in taken:
        return prefix
    names = (f"{start}branch{number}" for number in ("", *(f"_{k}" for k in range(2, 10_000))))
    return next(name for name in names if name not in taken)
