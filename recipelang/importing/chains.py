"""Chains of views as the shortest that does the same: the axes split, in another order, merged.

Exporters turn the last two axes of keys B×heads×tokens×width by way of (B·heads)×tokens×width, and attention of torch
goes through six views. Written as one, heads stay an axis of their own from the layer that makes them to that which
reads them, and can be removed.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, TypeAlias

from recipelang.importing.sized import VIEWS, Runs, Settling, reshaped

#: of one axis, for a batch of each size
Size: TypeAlias = tuple[int, ...]
Shape: TypeAlias = tuple[Size, ...]


class _Apart(Exception):
    """Sizes of a view are no products of those before it."""


@dataclass
class _Factors:
    """A tensor whose axes are products of factors, which are numbered; those of size 1 are products of none.

    Attributes:
        sizes: of every factor.
        first, now: the factors of each axis of the first tensor of a chain, and of the present one.
    """

    sizes: list[Size]
    first: list[list[int]]
    now: list[list[int]]

    @staticmethod
    def of(shape: Shape) -> _Factors:
        sizes = [size for size in shape if max(size) > 1]
        numbers = iter(range(len(sizes)))
        axes = [[next(numbers)] if max(size) > 1 else [] for size in shape]
        return _Factors(sizes, axes, [list(axis) for axis in axes])

    def reshape(self, shape: Shape) -> None:
        """Other axes in the same order."""
        waiting, made = list(chain.from_iterable(self.now)), []
        for size in shape:
            axis: list[int] = []
            while any(each > 1 for each in size):
                if not waiting:
                    raise _Apart
                factor = waiting.pop(0)
                if not _divides(self.sizes[factor], size):
                    waiting[:0] = self._split(factor, size)
                    factor = waiting.pop(0)
                size = _quotient(size, self.sizes[factor])
                axis.append(factor)
            made.append(axis)
        if waiting:
            raise _Apart
        self.now = made

    def _split(self, factor: int, size: Size) -> list[int]:
        """A factor as the product of this size and a new one, everywhere."""
        if not _divides(size, self.sizes[factor]):
            raise _Apart
        self.sizes.append(_quotient(self.sizes[factor], size))
        self.sizes[factor], new = size, len(self.sizes) - 1
        for axis in chain(self.first, self.now):
            if factor in axis:
                axis.insert(axis.index(factor) + 1, new)
        return [factor, new]

    def permute(self, order: Sequence[int]) -> None:
        """The same axes in another order."""
        self.now = [self.now[axis] for axis in order]

    def squeeze(self, axes: Collection[int]) -> None:
        """Without these axes of size 1."""
        self.now = [axis for k, axis in enumerate(self.now) if k not in axes and k - len(self.now) not in axes]

    def unsqueeze(self, axes: Collection[int]) -> None:
        """With axes of size 1 at these places of the new tensor."""
        rank = len(self.now) + len(axes)
        others = iter(self.now)
        self.now = [[] if k in axes or k - rank in axes else next(others) for k in range(rank)]

    def shape(self, axes: Sequence[Sequence[int]]) -> Shape:
        """The sizes of axes that are products of factors."""
        return tuple(
            tuple(math.prod(self.sizes[f][run] for f in axis) for run in range(len(self.sizes[0]))) for axis in axes
        )


def _divides(size: Size, other: Size) -> bool:
    return all(b % a == 0 for a, b in zip(size, other, strict=True))


def _quotient(size: Size, other: Size) -> Size:
    return tuple(a // b for a, b in zip(size, other, strict=True))


def with_short_chains(work: Settling, nodes: Sequence[Any], runs: Runs) -> list[Any]:
    """The nodes of a settled program, with chains of views in as few as do the same.

    Args:
        runs: hold what views read and make.
    """
    output = work.model.graph.output[0].name
    uses = Counter([output, *(name for node in nodes for name in node.input)])
    readers = {node.input[0]: node for node in nodes if node.op_type in VIEWS}
    found, done = list[Any](), set[str]()
    for node in nodes:
        if node.output[0] in done:
            continue
        # A program for one size has its images along the first axis of what a Reshape reads and makes, as far as known.
        begins = node.op_type in VIEWS if work.fixed is None else node.op_type == "Reshape"
        views = [node] if begins and node.input[0] in work.data else []
        while views and uses[made := views[-1].output[0]] == 1 and made in readers:
            views.append(readers[made])
        shorter = _shortened(work, views, runs) if len(views) > 1 else None
        if shorter:
            done |= {view.output[0] for view in views}
        found += shorter or [node]
    return found


def _shortened(work: Settling, views: Sequence[Any], runs: Runs) -> list[Any] | None:
    """Fewer nodes that do the same; None where there are none."""
    try:
        factors = _Factors.of(_shape(work, views[0].input[0], runs))
        for view in views:
            _follow(work, factors, view, runs)
        nodes = _written(work, factors, views[0].input[0], views[-1].output[0])
    except _Apart:
        return None
    return nodes if len(nodes) < len(views) else None


def _shape(work: Settling, name: str, runs: Runs) -> Shape:
    """The sizes for batches of several sizes, for a program of one size also of twice as many images."""
    shapes = [run[name].shape for run in runs]
    if work.fixed is not None:
        shapes.append((shapes[0][0] * 2, *shapes[0][1:]))
    return tuple(zip(*shapes, strict=True))


def _follow(work: Settling, factors: _Factors, view: Any, runs: Runs) -> None:
    told = {attribute.name: list(attribute.ints) for attribute in view.attribute}
    if view.op_type == "Reshape":
        factors.reshape(_shape(work, view.output[0], runs))
        return
    if len(view.input) > 1:
        told["axes"] = work.constants[view.input[1]].reshape(-1).tolist()
    if "perm" in told:
        factors.permute(told["perm"])
    elif "axes" in told:
        (factors.squeeze if view.op_type == "Squeeze" else factors.unsqueeze)(told["axes"])
    else:
        raise _Apart


def _written(work: Settling, factors: _Factors, start: str, end: str) -> list[Any]:
    """The axes split, put in order and merged."""
    import onnx

    split = list(chain.from_iterable(factors.first))
    turned = list(chain.from_iterable(factors.now))
    given, made = factors.shape(factors.first), factors.shape(factors.now)
    before, after = (factors.shape([[factor] for factor in listed]) for listed in (split, turned))
    if split == turned:
        return [_reshape(work, start, end, given, made)]
    nodes, name = [], start
    if before != given:
        nodes.append(_reshape(work, name, name := f"{end}/split", given, before))
    turn = onnx.helper.make_node("Transpose", [name], [f"{end}/turned" if after != made else end], name=f"{end}/turn")
    turn.attribute.append(onnx.helper.make_attribute("perm", [split.index(factor) for factor in turned]))
    nodes.append(turn)
    if after != made:
        nodes.append(_reshape(work, turn.output[0], end, after, made))
    return nodes


def _reshape(work: Settling, start: str, end: str, given: Shape, made: Shape) -> Any:
    node = reshaped(work, start, end, *(list(zip(*shape, strict=True)) for shape in (given, made)))
    if node is None:
        raise _Apart
    return node
