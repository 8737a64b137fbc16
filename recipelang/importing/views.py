"""ONNX's views and cuts as calls of torch, with sizes as numbers of their calls.

Numbers after a colon are the opset of a form. Source: https://onnx.ai/onnx/operators.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy
import torch

from recipelang.importing.graph import Building, Node, Unsupported
from recipelang.importing.sized import BATCH, FLATTEN, TO

#: an end of a cut that is beyond any axis
NO_LIMIT = 2**31 - 1


def reshape(build: Building, node: Node) -> Any:
    """`Reshape`: axes that are joined, or the sizes that it makes."""
    if joined := node.attributes.get(FLATTEN):
        return build.call(torch.flatten, build.value(node.inputs[0]), joined[0], joined[1])
    return build.call(torch.reshape, build.value(node.inputs[0]), tuple(node.attributes[TO]))


def flatten(build: Building, node: Node) -> Any:
    """`Flatten`, in two axes."""
    axis = node.attributes.get("axis", 1)
    if axis != 1:
        raise Unsupported(f"`Flatten` at axis {axis}")
    return build.call(torch.flatten, build.value(node.inputs[0]), 1)


def expand(build: Building, node: Node) -> Any:
    """`Expand` to sizes some of which are multiples of the batch."""
    sizes = [
        build.batch(step) if step else size
        for size, step in zip(node.attributes[TO], node.attributes[BATCH], strict=True)
    ]
    return build.call(torch.Tensor.expand, build.value(node.inputs[0]), *sizes)


def transpose(build: Building, node: Node) -> Any:
    """`Transpose`."""
    if "perm" not in node.attributes:
        raise Unsupported("`Transpose` without `perm`")
    return build.call(torch.permute, build.value(node.inputs[0]), tuple(node.attributes["perm"]))


def squeeze(build: Building, node: Node) -> Any:
    """`Squeeze`; axes are an input from :13."""
    axes = build.axes(node)
    if axes is None:
        raise Unsupported("`Squeeze` of all axes of size 1")
    return build.call(torch.squeeze, build.value(node.inputs[0]), tuple(axes))


def unsqueeze(build: Building, node: Node) -> Any:
    """`Unsqueeze`; axes are an input from :13."""
    found = build.value(node.inputs[0])
    for axis in sorted(build.axes(node) or ()):
        found = build.call(torch.unsqueeze, found, axis)
    return found


def sliced(build: Building, node: Node) -> Any:
    """`Slice`; bounds are inputs from :10."""
    if len(node.inputs) < 3:
        starts, ends, axes, steps = (
            node.attributes["starts"],
            node.attributes["ends"],
            node.attributes.get("axes"),
            None,
        )
    else:
        starts, ends, axes, steps = (build.numbers(node, k) for k in (1, 2, 3, 4))
    axes = list(range(len(starts))) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    if min(axes) < 0 or min(steps) < 1:
        return _turned(build, node, starts, ends, axes, steps)
    items: list[Any] = [slice(None)] * (max(axes) + 1)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        items[axis] = slice(start or None, end if end < NO_LIMIT else None, step if step > 1 else None)
    return build.call(operator.getitem, build.value(node.inputs[0]), tuple(items))


def _turned(build: Building, node: Node, *told: Any) -> Any:
    """A cut counted from the last axis; backwards is not for images."""
    found = build.value(node.inputs[0])
    for start, end, axis, step in zip(*told, strict=True):
        if step < 1 or (step > 1 and axis < 0):
            raise Unsupported("`Slice` backwards")
        if axis >= 0:
            items: list[Any] = [*[slice(None)] * axis, slice(start or None, end if end < NO_LIMIT else None, step)]
        else:
            items = [..., slice(start or None, end if end < NO_LIMIT else None), *[slice(None)] * (-axis - 1)]
        found = build.call(operator.getitem, found, tuple(items))
    return found


def split(build: Building, node: Node) -> Any:
    """`Split` into sizes, or into equal parts."""
    sizes = build.numbers(node, 1) if len(node.inputs) > 1 else node.attributes.get("split")
    axis = node.attributes.get("axis", 0)
    found = build.value(node.inputs[0])
    if sizes is None:
        return build.call(torch.chunk, found, len(node.outputs), axis)
    return build.call(torch.split, found, list(sizes), axis)


def gather(build: Building, node: Node) -> Any:
    """`Gather`: one index, or a list of them."""
    axis, index = node.attributes.get("axis", 0), build.constant(node.inputs[1])
    if index is None or not index.ndim == 0 and index.ndim != 1:
        raise Unsupported("`Gather` with indices that are computed or have several axes")
    found = build.value(node.inputs[0])
    if index.ndim == 0:
        return build.call(torch.select, found, axis, int(build.number(node, 1)))
    if numpy.array_equal(index, numpy.arange(index[0], index[0] + len(index))) and index[0] >= 0:
        first, *_ = build.numbers(node, 1) or [0]
        return build.call(torch.narrow, found, axis, int(first), len(index))
    return build.call(torch.index_select, found, axis, build.value(node.inputs[1]))


def concat(build: Building, node: Node) -> Any:
    """`Concat`."""
    return build.call(torch.cat, tuple(build.value(name) for name in node.inputs), node.attributes.get("axis", 1))


def tile(build: Building, node: Node) -> Any:
    """`Tile`."""
    return build.call(torch.tile, build.value(node.inputs[0]), tuple(build.numbers(node, 1) or ()))
