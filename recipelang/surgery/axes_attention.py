"""The rules of removal for attention: its heads are the axes over which products of activations run separately.

Heads leave as a whole, and the width of those that stay does not change: where an axis is a product of heads and
widths, the heads are the factor that may be removed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy

from recipelang.surgery.axes import RULES, Axis, Dims, OperatorCall, rule
from recipelang.surgery.axes_removal import Removing

WEIGHED = "softmax weighs them against each other"


@rule("scaled_dot_product_attention", removing=True)
def attention(axes: Removing, call: OperatorCall) -> Dims:
    """Keys are weighed against each other; without `scale` the width of a head is in the formula."""
    query, key = call.given["query"], call.given["key"]
    axes.freeze((key[-2],), WEIGHED)
    if call.given.get("scale") is None:
        axes.freeze((query[-1],), "attention divides by the root of their number")
    _separate(axes, query[:-2])
    return RULES["scaled_dot_product_attention"](axes, call)


@rule("softmax", "_softmax", "log_softmax", "_log_softmax", removing=True)
def softmax(axes: Removing, call: OperatorCall) -> Dims:
    """Over one axis."""
    x = next(call.tensors())
    axes.freeze((x[call.given["dim"]],), WEIGHED)
    return x


@rule("matmul", "bmm", removing=True)
def product(axes: Removing, call: OperatorCall) -> Dims:
    """…×I×K times …×K×J, one product for every index of the leading axes."""
    left, right = call.tensors()
    if min(len(left), len(right)) > 2:
        _separate(axes, left[:-2])
    return RULES["matmul"](axes, call)


@rule("baddbmm", removing=True)
def product_and_sum(axes: Removing, call: OperatorCall) -> Dims:
    """A product and another term, for every index of the first axis."""
    _separate(axes, call.given["batch1"][:-2])
    return RULES["baddbmm"](axes, call)


@rule("einsum", removing=True)
def einsum(axes: Removing, call: OperatorCall) -> Dims:
    """A letter of both operands and of the outcome is an axis over which products run separately."""
    inputs, _, output = call.given["equation"].replace(" ", "").partition("->")
    words, operands = inputs.split(","), list(call.tensors())
    if len(words) == len(operands) == 2:
        both = set(words[0]) & set(words[1]) & set(output)
        _separate(axes, [axis for letter, axis in zip(words[0], operands[0], strict=False) if letter in both])
    return RULES["einsum"](axes, call)


def _separate(axes: Removing, front: Iterable[Axis]) -> None:
    axes.heads += [axis for axis in front if len(axis) > 1]


def heads_among(axes: Removing, component: numpy.ndarray, channels: int) -> numpy.ndarray:
    """Channel → whether it is a head; images are too, but they stay.

    Args:
        component: the channel of every atom. channels: their number.
    """
    found = numpy.zeros(channels, bool)
    for axis in axes.heads:
        found[component[axis]] = True
    grew = True
    while grew:  # heads merged with images, and split from them again
        grew = False
        for whole, parts in axes.products:
            if found[component[whole]].any():
                grew |= _marked(found, component, parts)
    return found


def with_heads(axes: Removing, component: numpy.ndarray, heads: numpy.ndarray) -> numpy.ndarray:
    """Channel → whether it is one, or a channel of an axis that is a product of heads and others: a row of q, k or v.

    Args:
        heads: of `heads_among`.
    """
    found = heads.copy()
    for whole, parts in axes.products:
        if any(heads[component[part]].any() for part in parts):
            found[component[whole]] = True
    return found


def _marked(found: numpy.ndarray, component: numpy.ndarray, parts: Sequence[Axis]) -> bool:
    more = [component[part] for part in parts if not found[component[part]].all()]
    for part in more:
        found[part] = True
    return bool(more)
