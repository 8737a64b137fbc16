"""The graph of an ONNX program with what makes and what reads each value, and how nodes of it are replaced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass
class Graph:
    """A graph that is changed: who makes and who reads each value."""

    graph: Any
    made: dict[str, Any] = field(default_factory=dict)
    readers: dict[str, list[Any]] = field(default_factory=dict)
    new: dict[int, list[Any]] = field(default_factory=dict)  # id of a node → what takes its place
    instead: dict[str, str] = field(default_factory=dict)  # an initializer → the one that has its name if it is unread

    def __post_init__(self) -> None:
        self.held = {value.name: value for value in self.graph.initializer}
        for node in self.graph.node:
            self.made |= dict.fromkeys(node.output, node)
            for name in node.input:
                self.readers.setdefault(name, []).append(node)

    def hold(self, name: str, array: NDArray[Any]) -> str:
        """An initializer of this name, once."""
        from onnx import numpy_helper

        if name not in self.held:
            self.held[name] = numpy_helper.from_array(np.ascontiguousarray(array), name)
        return name

    def replace(self, node: Any, by: Sequence[Any]) -> None:
        self.new[id(node)] = list(by)

    def finish(self) -> None:
        """Write nodes and initializers that something still reads."""
        nodes = [one for node in self.graph.node for one in self.new.get(id(node), [node])]
        outputs = {value.name for value in self.graph.output}
        while True:
            read = {name for node in nodes for name in node.input} | outputs
            kept = [node for node in nodes if read & set(node.output)]
            if len(kept) == len(nodes):
                break
            nodes = kept
        used = {name for node in nodes for name in node.input} | outputs
        named = {new: old for new, old in self.instead.items() if old not in used}
        for node in nodes:
            node.input[:] = [named.get(name, name) for name in node.input]
        initializers = [value for name, value in self.held.items() if name in used]
        for value in initializers:
            value.name = named.get(value.name, value.name)
        del self.graph.node[:], self.graph.initializer[:]
        self.graph.node.extend(nodes)
        self.graph.initializer.extend(initializers)
