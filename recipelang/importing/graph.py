"""A graph of torch on its way from a program: what an operator may ask for, and where its layers are put."""

from __future__ import annotations

import operator
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy
import torch
from torch import fx, nn

#: names that exporters make up for weights that they computed
_MADE_UP = re.compile(r"onnx::|val_\d|^\d+$|/")
#: a mask is 0 where it lets through; what it holds elsewhere is no weight either
MASKED = -50.0


class Unsupported(Exception):
    """An operator, or a form of one, that has no translation; the text says which."""


@dataclass(frozen=True)
class Node:
    """A node of a program.

    Attributes:
        kind: its operator.
        name: its own.
        inputs, outputs: names of values; "" is none.
        attributes: by name.
        proto: as ONNX holds it.
    """

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    proto: Any

    @staticmethod
    def of(proto: Any) -> Node:
        """A node as ONNX holds it."""
        import onnx

        told = {each.name: onnx.helper.get_attribute_value(each) for each in proto.attribute}
        told = {
            name: value.decode("utf-8", "replace") if isinstance(value, bytes) else value
            for name, value in told.items()
        }
        return Node(proto.op_type, proto.name, tuple(proto.input), tuple(proto.output), told, proto)


@dataclass
class Building:
    """A network on its way.

    Attributes:
        constants: name → value.
        opset: version of ONNX's operators.
        untrained: names of constants of floating point that no training changes; is added to.
        root, graph: the modules, and what calls them.
        values: name → the node of the graph that computes it.
        kept: names of constants that became numbers in calls.
        uses: name → how many nodes read it.
        images: the input of the graph.
    """

    constants: Mapping[str, numpy.ndarray]
    opset: int
    untrained: set[str]
    root: nn.Module = field(default_factory=nn.Module)
    graph: fx.Graph = field(default_factory=fx.Graph)
    values: dict[str, fx.Node] = field(default_factory=dict)
    kept: set[str] = field(default_factory=set)
    uses: Counter[str] = field(default_factory=Counter)
    images: Any = None
    _batch: Any = None

    # what operators ask for

    def constant(self, name: str) -> numpy.ndarray | None:
        """The value of a constant that becomes a tensor; None for what is computed."""
        return self.constants.get(name)

    def numbers(self, node: Node, position: int) -> list[Any] | None:
        """The numbers of an input that has to be a constant; None where there is no such input."""
        name = node.inputs[position] if position < len(node.inputs) else ""
        if not name:
            return None
        if name not in self.constants:
            raise Unsupported(f"`{node.kind}` with sizes that depend on the values of images")
        self.kept.add(name)
        found: list[Any] = self.constants[name].reshape(-1).tolist()
        return found

    def number(self, node: Node, position: int) -> Any:
        """The one number of an input that has to be a constant."""
        found = self.numbers(node, position)
        if found is None or len(found) != 1:
            raise Unsupported(f"`{node.kind}` with a bound that is not one number")
        return found[0]

    def axes(self, node: Node) -> list[int] | None:
        """The axes of an attribute or of the second input; None for none."""
        if "axes" in node.attributes:
            return list(node.attributes["axes"])
        return self.numbers(node, 1)

    def value(self, name: str) -> fx.Node:
        """What computes a name; a constant becomes a parameter, or a buffer where it is not trained."""
        if name in self.values:
            return self.values[name]
        held = self._held(name)
        if name in self.untrained or not numpy.issubdtype(self.constants[name].dtype, numpy.floating):
            self.values[name] = held  # a weight is one for each place: exporters join those that are equal by chance
        return held

    def operand(self, name: str) -> Any:
        """Like `value`; a constant of one number is that number."""
        constant = self.constants.get(name)
        if constant is not None and constant.size == 1 and constant.ndim <= 1:
            self.kept.add(name)
            return constant.item()
        return self.value(name)

    def call(self, function: Callable[..., Any], *args: Any) -> fx.Node:
        """A call of a function."""
        if isinstance(function, type(torch.Tensor.to)) and getattr(torch.Tensor, function.__name__, None) is function:
            return self.graph.call_method(function.__name__, args)
        return self.graph.call_function(function, args)

    def batch(self, times: int) -> Any:
        """The number of images, or a multiple of it."""
        if self._batch is None:
            with self.graph.inserting_after(self.images):
                self._batch = self.graph.call_method("size", (self.images, 0))
        return self._batch if times == 1 else self.graph.call_function(operator.mul, (self._batch, times))

    def layer(
        self, node: Node, layer: nn.Module, tensors: Mapping[str, numpy.ndarray], inputs: Sequence[Any] = ()
    ) -> fx.Node:
        """A call of a layer with these weights.

        Args:
            node: that it stands for, which names it.
            layer: is placed under the name of its weights, else of the node.
            tensors: name of each of its parameters and buffers → value.
            inputs: of the call; default: the first of the node.
        """
        with torch.no_grad():
            for name, value in tensors.items():
                getattr(layer, name).copy_(torch.from_numpy(numpy.array(value)))
        path = self._placed(self._path(node), layer)
        return self.graph.call_module(path, tuple(inputs) or (self.value(node.inputs[0]),))

    # places

    def _held(self, name: str) -> fx.Node:
        value = torch.from_numpy(numpy.array(self.constants[name]))
        if not value.is_floating_point() or value.numel() == 1 or name in self.untrained or _is_mask(value):
            if value.is_floating_point():
                self.untrained.add(name)
            place: Any = value
        else:
            place = nn.Parameter(value)
        path = re.sub(r"[^\w.]+", "_", name).strip("._") or "constant"
        return self.graph.get_attr(self._placed(path, place))

    def _path(self, node: Node) -> str:
        """Where a layer is put: the name of its weights, or that of its node."""
        for name in node.inputs[1:]:
            if name in self.constants and "." in name and not made_up(name) and self.uses[name] == 1:
                return name.rpartition(".")[0]
        return _scoped(node) if node.name else node.kind.lower()

    def _placed(self, path: str, what: Any) -> str:
        """Put a module, parameter or buffer there, or beside what is there; returns the path."""
        parts = [re.sub(r"\W+", "_", part) or "_" for part in path.split(".")]
        place = self.root
        for number, part in enumerate(parts[:-1]):
            inner = getattr(place, part, None) if part in place._modules else None
            if inner is None and not hasattr(place, part):
                place.add_module(part, nn.Module())
            elif type(inner) is not nn.Module:  # something else has this name
                parts = [*parts[:number], "_".join(parts[number:])]
                break
            place = place._modules[part]  # type: ignore[assignment]
        leaf, times = parts[-1], 1
        while hasattr(place, leaf):
            times += 1
            leaf = f"{parts[-1]}_{times}"
        if isinstance(what, nn.Module):
            place.add_module(leaf, what)
        elif isinstance(what, nn.Parameter):
            place.register_parameter(leaf, what)
        else:
            place.register_buffer(leaf, what)
        return ".".join([*parts[:-1], leaf])


def made_up(name: str) -> bool:
    """Whether an exporter made up a name, for what it computed."""
    return bool(_MADE_UP.search(name))


def _is_mask(value: torch.Tensor) -> bool:
    """Whether numbers are those of a mask of attention: 0, or far below it."""
    return bool(((value == 0) | (value <= MASKED)).all()) and bool((value <= MASKED).any())


def _scoped(node: Node) -> str:
    """`/layer1/layer1.0/relu/Relu`, as torch's exporter calls a node, → `layer1.0.relu`; `node_relu_2` → `relu_2`."""
    *scopes, last = node.name.removeprefix("node_").strip("/").split("/")
    path: list[str] = []
    for scope in scopes:
        inner = scope.split(".")
        path = (
            [*path[: -len(inner) + 1], *inner]
            if path[-len(inner) + 1 :] == inner[:-1] and len(inner) > 1
            else [*path, *inner]
        )
    return ".".join(path) or last
