"""Which channels may be reordered across an operation: the rules, one for each kind of tensor operation.

Every axis of every tensor is an array of *atoms*, one number for each index. An operation that treats all indices of
an axis in the same way passes the array on; one that combines two axes index by index joins their atoms; one that
slices, concatenates or pads makes a new array out of old atoms. Anything else that an operation does to an axis freezes
it, and an operation without a rule freezes all that it touches. The channels that remain free may be reordered.

Channels that are to be removed are followed in the same way; `axes_removal` says where their number matters, though
their order does not, and where whole blocks may be removed that may not be reordered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeAlias, TypeVar

import numpy
import torch

Axis: TypeAlias = numpy.ndarray  # int64 atoms, one per index


class Dims(tuple[Axis, ...]):
    """The axes of one tensor."""

    __slots__ = ()

    def at(self, index: int, axis: Axis) -> Dims:
        """The same axes with the one at `index` replaced."""
        return Dims(axis if k == index % len(self) else old for k, old in enumerate(self))


class NoRule(Exception):
    """The operation, or this use of it, has no rule."""


@dataclass
class Axes:
    """All axes of a network, the joins between their atoms, and what is frozen and why.

    Attributes:
        atoms: their number.
        joins: pairs of arrays whose atoms are reordered together, index by index.
        frozen: arrays whose atoms keep their places, with the reason.
        axes: every array that some tensor has, each once. Channels are interchangeable only within the same
            ones.
        site: where the walk is: (path of a module, number of the operation among its own).
    """

    #: whether channels are to be removed, instead of reordered
    removing: ClassVar[bool] = False

    atoms: int = 0
    joins: list[tuple[Axis, Axis]] = field(default_factory=list)
    frozen: list[tuple[Axis, str]] = field(default_factory=list)
    axes: list[Axis] = field(default_factory=list)
    known: set[int] = field(default_factory=set)
    site: tuple[str, int] = ("", 0)

    def record(self, axis: Axis) -> Axis:
        """Record an array once; pieces of others too, because a piece distinguishes its channels from the rest."""
        if id(axis) not in self.known:  # `axes` keeps the array alive, so its id stays unique
            self.known.add(id(axis))
            self.axes.append(axis)
        return axis

    def fresh(self, size: int) -> Axis:
        """A new axis with atoms of its own."""
        self.atoms += size
        return self.record(numpy.arange(self.atoms - size, self.atoms))

    def join(self, first: Axis, *others: Axis | None) -> Axis:
        """Reorder these axes together from now on; None stands for an absent operand.

        Raises:
            NoRule: their sizes differ.
        """
        if any(other is not None and len(other) != len(first) for other in others):
            raise NoRule
        self.joins += [(first, other) for other in others if other is not None and other is not first]
        return first

    def freeze(self, axes: Sequence[Axis], why: str) -> None:
        """Keep every index of these axes in its place."""
        self.frozen += [(axis, why) for axis in axes]

    def stuck(self, size: int, why: str) -> Axis:
        """A new axis that is frozen."""
        axis = self.fresh(size)
        self.freeze((axis,), why)
        return axis


@dataclass(frozen=True)
class OperatorCall:
    """One operation of the graph.

    Attributes:
        name: of the operator, without its overload: `conv2d`.
        given: arguments by name in the schema, defaults included; tensors as `Dims`.
        shapes: of the output tensors.
    """

    name: str
    given: Mapping[str, Any]
    shapes: tuple[tuple[int, ...], ...]

    def tensors(self) -> Iterator[Dims]:
        """Every input tensor."""
        for value in self.given.values():
            for item in value if isinstance(value, list | tuple) and not isinstance(value, Dims) else (value,):
                if isinstance(item, Dims):
                    yield item

    def vector(self, name: str) -> Axis | None:
        """The only axis of a bias or a norm's parameter; None where there is none."""
        dims = self.given.get(name)
        return dims[-1] if dims else None


#: why positions keep their order
SPACE = "they are positions, not channels"
Rule = Callable[[Any, OperatorCall], Any]
R = TypeVar("R", bound=Rule)
#: Elementwise, though some versions of torch do not tag them as such.
UNTAGGED = {"celu", "elu", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu", "mish", "relu6", "selu", "softplus"}
RULES: dict[str, Rule] = {}
#: the rules that differ where channels are removed
REMOVING: dict[str, Rule] = {}


def rule(*names: str, removing: bool = False) -> Callable[[R], R]:
    """Register a function as the rule of these operators; it returns `Dims`, or a list of them for several outputs.

    With `removing` it holds only where channels are removed, instead of the one for both.
    """

    def enter(function: R) -> R:
        (REMOVING if removing else RULES).update(dict.fromkeys(names, function))
        return function

    return enter


def follow(axes: Axes, target: Any, call: OperatorCall) -> list[Dims]:
    """The axes of the outputs of an operation.

    Args:
        axes: joins and frozen axes are recorded here.
        target: the operator of the graph, whose tags say whether it is elementwise.
        call: its operands.
    """
    name = call.name.removesuffix("_")
    tables = (REMOVING, RULES) if axes.removing else (RULES,)
    function = next((table[key] for table in tables for key in (call.name, name) if key in table), None)
    if function is None and (name in UNTAGGED or torch.Tag.pointwise in getattr(target, "tags", ())):
        function = elementwise
    try:
        if function is None:
            raise NoRule
        out = function(axes, call)
        outs = [out] if isinstance(out, Dims) else list(out)
        if [tuple(len(axis) for axis in dims) for dims in outs] != list(call.shapes):
            raise NoRule
    except NoRule:
        why = f"`{call.name}` is not known to treat them all in the same way"
        for dims in call.tensors():
            axes.freeze(dims, why)
        outs = [Dims(axes.stuck(size, why) for size in shape) for shape in call.shapes]
    for dims in outs:
        for axis in dims:
            axes.record(axis)
    return outs


@rule("fill", "zero", "copy", "hardswish", "log_sigmoid", "type_as", "__and__", "__or__", "expand_as")
def elementwise(axes: Axes, call: OperatorCall) -> Dims:
    """Aligned at the right; an axis of size 1 is broadcast over the others and joined to none."""
    return broadcast(axes, list(call.tensors()), call.shapes[0])


def broadcast(axes: Axes, operands: Sequence[Dims], shape: Sequence[int]) -> Dims:
    """The joined axes of operands that are combined element by element into a tensor of this shape."""
    out = []
    for back, size in zip(range(len(shape), 0, -1), shape, strict=True):
        met = [dims[-back] for dims in operands if len(dims) >= back and len(dims[-back]) == size]
        out.append(axes.join(*met) if met and size > 1 else met[0] if met else axes.fresh(size))
    return Dims(out)


@rule(
    "dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout", "contiguous", "to", "_to_copy", "alias",
    "detach", "lift_fresh_copy", "softmax", "_softmax", "log_softmax", "_log_softmax",
)  # fmt: skip
def unchanged(axes: Axes, call: OperatorCall) -> Dims:
    """Element by element, or the same at every index of every axis."""
    return next(call.tensors())


@rule("zeros", "ones", "full", "new_zeros", "new_ones", "new_full", "zeros_like", "ones_like", "full_like")
def constant(axes: Axes, call: OperatorCall) -> Dims:
    """The same number everywhere, so its order does not matter."""
    return Dims(axes.fresh(size) for size in call.shapes[0])


@rule("_assert_tensor_metadata")
def nothing(axes: Axes, call: OperatorCall) -> list[Dims]:
    """A check without an output."""
    return []


@rule("prelu")
def prelu(axes: Axes, call: OperatorCall) -> Dims:
    """One slope for all, or one for each channel."""
    x, (slope,) = call.given["self"], call.given["weight"]
    if len(slope) > 1:
        axes.join(x[1], slope)
    return Dims(x)


@rule("glu")
def glu(axes: Axes, call: OperatorCall) -> Dims:
    """The first half, gated by the second."""
    x, dim = call.given["self"], call.given["dim"]
    half = len(x[dim]) // 2
    first, second = axes.record(x[dim][:half]), axes.record(x[dim][half:])
    return x.at(dim, axes.join(first, second))
