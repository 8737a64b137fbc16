"""Implied recovery: tuning between removal and a hardware restriction, where a later step needs `recovered`.

Without it `recovered` would be a network that surgery has just harmed, and a poor teacher.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

from recipelang.plan import DEFAULT_RECOVERY, Branch, Node, Operation, Step, Subject, parts_of, steps_of

WHY = "`recovered` is named later, and nothing trains between removal and the restriction"
TEXT = f"finetune for {DEFAULT_RECOVERY}"
NAME = "recovered"


def added(nodes: tuple[Node, ...], tuning: Callable[[Step], Step]) -> tuple[Node, ...]:
    """The nodes with tuning before each restriction that needs it.

    Args:
        nodes: of the plan.
        tuning: makes the step to insert before a given one.
    """
    return _added(nodes, False, False, tuning)[0]


def _added(
    nodes: tuple[Node, ...], later: bool, harmed: bool, tuning: Callable[[Step], Step]
) -> tuple[tuple[Node, ...], bool]:
    """The nodes, and whether the network is harmed and untrained after them.

    Args:
        nodes: of one level.
        later: whether what follows them needs `recovered`.
        harmed: whether something was removed and nothing has trained since.
    """
    made: list[Node] = []
    for node, wanted in zip(nodes, _wanted_after(nodes, later), strict=True):
        if isinstance(node, Step):
            if harmed and node.operation.needs().restriction and wanted:
                made.append(tuning(node))
                harmed = False
            made.append(node)
            harmed = _harmed(node, harmed)
        elif isinstance(node, Branch):
            bodies = [_added(variant.body, wanted, harmed, tuning) for variant in node.variants]
            variants = tuple(dataclasses.replace(v, body=b) for v, (b, _) in zip(node.variants, bodies, strict=True))
            made.append(Branch(variants))
            harmed = any(end for _, end in bodies)
        else:
            body, harmed = _added(node.body, _wanted(node.body, wanted), harmed, tuning)
            made.append(dataclasses.replace(node, body=body))
    return tuple(made), harmed


def _harmed(step: Step, harmed: bool) -> bool:
    """Whether the network is harmed after a step."""
    needs = step.operation.needs()
    if needs.training is not None or needs.restriction:
        return False
    return harmed or step.operation.role == "surgery"


def _wanted_after(nodes: tuple[Node, ...], later: bool) -> list[bool]:
    """For each node, whether `recovered` is named after it, before a restriction overwrites it.

    Args:
        nodes: of one level.
        later: whether what follows all of them needs it.
    """
    found: list[bool] = []
    for node in reversed(nodes):
        found.append(later)
        later = _wanted((node,), later)
    return found[::-1]


def _wanted(nodes: tuple[Node, ...], later: bool) -> bool:
    """Whether `recovered` is named in these nodes before a restriction overwrites it; `later` where neither happens."""
    for step in steps_of(nodes):
        if NAME in set(_states(step.operation)):
            return True
        if step.operation.needs().restriction:
            return False
    return later


def _states(operation: Operation) -> Iterator[str]:
    """Every state that an operation names: teachers, the state to start from, subjects of readings."""
    yield from operation.needs().states
    yield from (part.name for part in parts_of(operation) if isinstance(part, Subject))
