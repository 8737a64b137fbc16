"""Steps of a computation that everything passes through, in the graph that autograd records.

A step lies on all paths from the input to the answer if the number of paths through it is the number of all. A shortcut
around most of a network (a long skip connection, as in networks for restoration and segmentation) would leave no such
step inside; it is left out as long as that shows new ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

#: the steps of a graph that lead from its root to its leaf, each with those that come next on the way
Graph = Mapping[Any, list[Any]]
#: a shortcut around more than this part of the steps is long
LONG = 0.5


def passed(root: Any, leaf: Any, nodes: Set[Any]) -> Set[Any]:
    """Those of `nodes` that everything passes through; all of them where no path leads from root to leaf.

    Args:
        root: the step of autograd that made the answer.
        leaf: the one that stands for the input.
        nodes: steps of the graph.
    """
    graph = _graph(root, leaf)
    if leaf not in graph or root is None:
        return nodes
    cuts = _cuts(graph, root, leaf)
    while (opened := _opened(graph, cuts, root, leaf)) is not None:
        graph, cuts = opened
    return nodes & set(cuts)


def depending(nodes: Set[Any], parameters: Set[int]) -> Set[Any]:
    """Those of `nodes` that depend on one of the parameters, which are given by their identities."""
    known: dict[Any, bool] = {}
    for root in nodes:
        stack = [root] if root is not None else []
        while stack:
            node = stack[-1]
            after = [one for one, _ in node.next_functions if one is not None]
            new = [one for one in after if one not in known] if node not in known else []
            if new:
                stack.extend(new)
                continue
            stack.pop()
            own = id(getattr(node, "variable", None)) in parameters
            known[node] = own or any(known[one] for one in after)
    return {node for node in nodes if node is not None and known[node]}


def _graph(root: Any, leaf: Any) -> Graph:
    """The steps from which the leaf can be reached."""
    following: dict[Any, list[Any]] = {}
    stack = [root] if root is not None else []
    while stack:
        node = stack.pop()
        if node not in following:
            following[node] = [after for after, _ in node.next_functions if after is not None]
            stack += following[node]
    leads = set()
    for node in _sorted(following, root) if root is not None else ():
        if node is leaf or any(after in leads for after in following[node]):
            leads.add(node)
    return {node: [after for after in following[node] if after in leads] for node in leads}


def _sorted(graph: Graph, root: Any) -> list[Any]:
    """The steps that the root leads to, each after those that it leads to itself."""
    order, seen, stack = [], {root}, [(root, iter(graph[root]))]
    while stack:
        node, rest = stack[-1]
        new = next((after for after in rest if after not in seen), None)
        if new is None:
            order.append(node)
            stack.pop()
        else:
            seen.add(new)
            stack.append((new, iter(graph[new])))
    return order


def _cuts(graph: Graph, root: Any, leaf: Any) -> list[Any]:
    """The steps on all paths from root to leaf, the leaf first."""
    order = _sorted(graph, root)
    below: dict[Any, int] = {}
    for node in order:
        below[node] = 1 if node is leaf else sum(below[after] for after in graph[node])
    above = dict.fromkeys(order, 0) | {root: 1}
    for node in reversed(order):
        for after in graph[node]:
            above[after] += above[node]
    return [node for node in order if above[node] * below[node] == below[root]]


def _opened(graph: Graph, cuts: list[Any], root: Any, leaf: Any) -> tuple[Graph, list[Any]] | None:
    """The graph without the shortcut around most of it, and its cuts; None where there is none, or it shows nothing."""
    order = _sorted(graph, root)
    place = {node: number for number, node in enumerate(order)}
    for start, end in zip(cuts, cuts[1:], strict=False):
        inside = set(order[place[start] + 1 : place[end]])
        if len(inside) > LONG * len(order) and len(graph[end]) > 1:
            sizes = [len(_reached(graph, after, inside)) for after in graph[end]]
            shortest = sizes.index(min(sizes))
            without = {**graph, end: [after for n, after in enumerate(graph[end]) if n != shortest]}
            found = _cuts(without, root, leaf)
            return (without, found) if len(found) > len(cuts) else None
    return None


def _reached(graph: Graph, start: Any, inside: Set[Any]) -> set[Any]:
    """The steps of a part of the graph that a step leads to, itself included."""
    found: set[Any] = set()
    stack = [start]
    while stack:
        node = stack.pop()
        if node in inside and node not in found:
            found.add(node)
            stack += graph[node]
    return found
