"""Operations of a settled program that change nothing: a mask that hides nothing, and what guards against its rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy

from recipelang.importing.sized import ELEMENTWISE, Runs, Settling, keeps_shape


def without_idle(work: Settling, nodes: Sequence[Any], runs: Runs) -> list[Any]:
    """The nodes without sums with zeros, and without the zeros that stand in for rows of attention that see nothing,
    where every row sees something.

    Args:
        runs: hold what is asked by `asked`.
    """
    import onnx

    makers = {name: node for node in nodes for name in node.output}
    found: list[Any] = []
    for node in nodes:
        same = _summed_with_zeros(work, node, runs) or _guarded(work, node, makers)
        if same:
            node = onnx.helper.make_node("Identity", [same], list(node.output), name=node.name)
            makers[node.output[0]] = makers.get(same)
        found.append(node)
    return _used(work, found)


def asked(work: Settling, nodes: Sequence[Any]) -> set[str]:
    """What has to be known of a run: what is combined with numbers that are not computed from images."""
    mixed = [n for n in nodes if n.op_type in ELEMENTWISE and any(i and i not in work.data for i in n.input)]
    return {name for node in mixed for name in (*node.input, *node.output) if name in work.data}


def _summed_with_zeros(work: Settling, node: Any, runs: Runs) -> str:
    """The other operand of a sum with zeros."""
    if node.op_type != "Add" or not keeps_shape(work, node, runs):
        return ""
    for name, other in (node.input, node.input[::-1]):
        constant = work.constants.get(name)
        if constant is not None and name not in work.named and other in work.data and not constant.any():
            return str(other)
    return ""


def _guarded(work: Settling, node: Any, makers: dict[str, Any]) -> str:
    """The softmax of `where(isnan(softmax), 0, softmax)`, which is NaN only where all of a row is −∞."""
    if node.op_type != "Where":
        return ""
    asks, softmax = (makers.get(node.input[k]) for k in (0, 2))
    if asks is None or softmax is None or (asks.op_type, softmax.op_type) != ("IsNaN", "Softmax"):
        return ""
    zero, scores = work.constants.get(node.input[1]), makers.get(softmax.input[0])
    if asks.input[0] != node.input[2] or zero is None or zero.any() or scores is None:
        return ""
    given = [work.constants.get(name) for name in scores.input if name not in work.data]
    hides = any(each is None or not numpy.isfinite(each).all() for each in given)
    return "" if hides or scores.op_type not in ("MatMul", "Mul", "Div", "Add") else str(node.input[2])


def _used(work: Settling, nodes: Sequence[Any]) -> list[Any]:
    wanted, found = {work.model.graph.output[0].name}, list[Any]()
    for node in reversed(nodes):
        if wanted & set(node.output):
            wanted |= set(node.input)
            found.insert(0, node)
    return found
