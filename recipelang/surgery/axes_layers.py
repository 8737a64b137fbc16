"""The rules of `axes` for layers: matrix products, convolutions, attention, norms and pooling."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy

from recipelang.surgery.axes import SPACE, Axes, Axis, Dims, NoRule, OperatorCall, broadcast, rule


@rule("conv1d", "conv2d", "conv3d")
def convolution(axes: Axes, call: OperatorCall) -> Dims:
    """x B×I×…, weight O×I×k… → B×O×…; depthwise where every channel has its own filter."""
    x, weight, groups = call.given["input"], call.given["weight"], call.given["groups"]
    if len(x) != len(weight):
        raise NoRule
    axes.freeze((*x[2:], *weight[2:]), SPACE)
    if groups == 1:
        axes.join(weight[1], x[1])
    elif groups == len(x[1]) == len(weight[0]):
        axes.join(weight[0], x[1])
    else:
        axes.freeze((x[1], *weight[:2]), f"they belong to a convolution with {groups} groups")
    axes.join(weight[0], call.vector("bias"))
    return Dims((x[0], weight[0], *(axes.stuck(size, SPACE) for size in call.shapes[0][2:])))


@rule("linear")
def linear(axes: Axes, call: OperatorCall) -> Dims:
    """x …×I, weight O×I → …×O."""
    x, weight = call.given["input"], call.given["weight"]
    axes.join(weight[1], x[-1])
    return Dims((*x[:-1], axes.join(weight[0], call.vector("bias"))))


@rule("matmul", "mm", "bmm")
def product(axes: Axes, call: OperatorCall) -> Dims:
    """…×I×K times …×K×J; the leading axes are broadcast."""
    left, right = call.tensors()
    return _product(axes, left, right, call.shapes[0])


def _product(axes: Axes, left: Dims, right: Dims, shape: Sequence[int]) -> Dims:
    if min(len(left), len(right)) < 2:
        raise NoRule
    axes.join(left[-1], right[-2])
    front = broadcast(axes, [Dims(left[:-2]), Dims(right[:-2])], shape[:-2])
    return Dims((*front, left[-2], right[-1]))


@rule("addmm", "baddbmm")
def product_and_sum(axes: Axes, call: OperatorCall) -> Dims:
    """A matrix product plus another term."""
    added, left, right = call.tensors()
    return broadcast(axes, [_product(axes, left, right, call.shapes[0]), added], call.shapes[0])


@rule("einsum")
def einsum(axes: Axes, call: OperatorCall) -> Dims:
    """Axes with the same letter are one axis."""
    inputs, arrow, output = call.given["equation"].replace(" ", "").partition("->")
    letters: dict[str, Axis] = {}
    for word, dims in zip(inputs.split(","), call.tensors(), strict=True):
        if not arrow or len(word) != len(dims) or len(set(word)) != len(word) or not word.isalpha():
            raise NoRule
        for letter, axis in zip(word, dims, strict=True):
            axes.join(letters.setdefault(letter, axis), axis)
            if len(letters[letter]) != len(axis):
                raise NoRule
    return Dims(letters[letter] for letter in output)


@rule("scaled_dot_product_attention")
def attention(axes: Axes, call: OperatorCall) -> Dims:
    """softmax(q·kᵀ)·v over …×L×E, …×S×E and …×S×F → …×L×F."""
    query, key, value = (call.given[name] for name in ("query", "key", "value"))
    if call.given.get("enable_gqa"):  # one head of keys serves several of queries, which follow each other
        key, value = (dims.at(-3, numpy.repeat(dims[-3], len(query[-3]) // len(dims[-3]))) for dims in (key, value))
    if call.given.get("is_causal"):
        axes.freeze((query[-2], key[-2]), "attention is causal, so their order matters")
    axes.join(query[-1], key[-1])
    axes.join(key[-2], value[-2])
    front = broadcast(axes, [Dims(dims[:-2]) for dims in (query, key, value)], call.shapes[0][:-2])
    mask = call.given.get("attn_mask")
    if mask:
        shape = (*map(len, front), len(query[-2]), len(key[-2]))
        broadcast(axes, [Dims((*front, query[-2], key[-2])), mask], shape)
    return Dims((*front, query[-2], value[-1]))


@rule("embedding")
def embedding(axes: Axes, call: OperatorCall) -> Dims:
    """Rows of a table, by index."""
    table, indices = call.given["weight"], call.given["indices"]
    axes.freeze(table[:1], "they are looked up by index")
    return Dims((*indices, table[1]))


@rule("batch_norm", "instance_norm")
def norm_of_channels(axes: Axes, call: OperatorCall) -> Dims:
    """Every channel (axis 1) separately."""
    x = call.given["input"]
    axes.join(x[1], *(call.vector(name) for name in ("weight", "bias", "running_mean", "running_var")))
    return Dims(x)


@rule("layer_norm", "rms_norm")
def norm_of_last(axes: Axes, call: OperatorCall) -> Dims:
    """Over the last axes together, each element with its own weight."""
    x = call.given["input"]
    for vector in (call.given.get("weight"), call.given.get("bias")):
        if vector:
            broadcast(axes, [x, vector], [len(axis) for axis in x])
    return Dims(x)


@rule("group_norm")
def norm_of_groups(axes: Axes, call: OperatorCall) -> Dims:
    """Free where all channels form one group, or each its own."""
    x, groups = call.given["input"], call.given["num_groups"]
    if groups not in (1, len(x[1])):
        axes.freeze((x[1],), f"they are normalised in {groups} groups")
    axes.join(x[1], call.vector("weight"), call.vector("bias"))
    return Dims(x)


@rule(
    *(f"{adaptive}{how}_pool{k}d" for adaptive in ("", "adaptive_") for how in ("avg", "max") for k in (1, 2, 3)),
    "upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d", "upsample_linear1d", "upsample_bilinear2d",
    "upsample_bicubic2d", "upsample_trilinear3d",
)  # fmt: skip
def over_space(axes: Axes, call: OperatorCall) -> list[Dims]:
    """Pooling and interpolation: the last one, two or three axes."""
    x, space = next(call.tensors()), int(re.findall(r"([123])d", call.name)[0])
    axes.freeze(x[-space:], SPACE)
    return [Dims((*x[:-space], *(axes.stuck(n, SPACE) for n in shape[-space:]))) for shape in call.shapes]
