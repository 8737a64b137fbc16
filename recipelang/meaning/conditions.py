"""Conditions: `latency < 0.7 and top1 drop < 1%` becomes tests of readings against bounds.

A cost against a bare number or percentage is a ratio to healthy, with a unit it is absolute; qualities have
`drop` (higher is better) or `rise` (lower is better), in their own points.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from recipelang.meaning import trees
from recipelang.meaning.bounds import FLIPPED, bound_of, contradictions
from recipelang.meaning.lookup import misspelt_clause
from recipelang.meaning.metrics import reading
from recipelang.plan import All, Any_, Condition, Reading, Test
from recipelang.syntax import nodes
from recipelang.syntax.show import show

if TYPE_CHECKING:
    from recipelang.meaning.reader import Reader


def read(reader: Reader, node: Any, split: str, data: str) -> Condition | None:
    """A condition of a recipe as tests.

    Args:
        reader: the statement that contains it.
        node: a comparison, or several joined by `and` and `or`.
        split, data: where the metrics are read: `val` for what decides, `test` for verdicts.

    Returns:
        the condition; None where a mistake in it was noted (RCP06xx, or one in the call of a metric).
    """
    condition = _read(reader, node, split, data)
    if condition is not None:
        contradictions(condition, reader.refuse)
    return condition


def of_clause(reader: Reader, word: str) -> Condition | None:
    """The condition of `until` or `while`, which read the validation split; None without the clause."""
    clause = reader.clause(word)
    return read(reader, clause.arguments[0], "val", "") if clause else None


def _read(reader: Reader, node: Any, split: str, data: str) -> Condition | None:
    if isinstance(node, nodes.AllOf | nodes.AnyOf):
        parts = [_read(reader, inner, split, data) for inner in node.tests]
        found = tuple(part for part in parts if part is not None)
        if len(found) < len(parts):
            return None
        joint = All if isinstance(node, nodes.AllOf) else Any_
        return joint(found, show(node), node.span)
    if isinstance(node, nodes.Compare):
        return _test(reader, node, split, data)
    close = misspelt_clause(node)
    if close:
        reader.misspelt(close)
    else:
        shown, last = show(node), trees.words(node)[-1]
        help = f"write `{shown} < …` with a number or another metric"
        if isinstance(last, nodes.Number) and last is not node:
            help = f"write `<` or `>` before `{last.text}`"
        reader.refuse("RCP0601", f"`{shown}` is not a comparison", node.span, help)
    reader.failed = True
    return None


def _test(reader: Reader, node: nodes.Compare, split: str, data: str) -> Test | None:
    if isinstance(node.left, nodes.Number):
        other = f"write `{show(node.right)} {FLIPPED[node.operator]} {node.left.text}`"
        help = "write a metric first: `latency < 0.7`" if isinstance(node.right, nodes.Number) else other
        reader.refuse("RCP0611", "a condition begins with a metric", node.left.span, help)
        return None
    left = reading(reader, node.left, split, data, f"{node.operator} {show(node.right)}")
    if isinstance(node.right, nodes.Number):
        return bound_of(reader.refuse, node, left, node.right) if left else None
    right = reading(reader, node.right, split, data)
    if left is None or right is None:
        return None
    return _against_reading(reader, node, left, right)


def _against_reading(reader: Reader, node: nodes.Compare, left: Reading, right: Reading) -> Test | None:
    """`latency < layers.latency`: both in the metric's own unit, and times as ratios to healthy.

    Each network is timed alternately with healthy. Seconds that were measured at different times depend on what else
    the machine did; their ratios to healthy do not.
    """
    if (left.metric.unit, left.form in ("drop", "rise")) != (right.metric.unit, right.form in ("drop", "rise")):
        message = f"`{show(node.left)}` and `{show(node.right)}` have different units"
        reader.refuse(
            "RCP0606", message, node.right.span, f"compare with another `{left.metric.name}` or with a number"
        )
        return None
    if left == right:
        reader.refuse(
            "RCP0609", f"`{show(node.left)}` is compared with itself", node.right.span, "compare with a number"
        )
        return None
    if left.metric == right.metric and left.metric.source == "clock":
        left, right = (dataclasses.replace(one, form="ratio") for one in (left, right))
    return Test(left, node.operator, right, show(node), node.span)
