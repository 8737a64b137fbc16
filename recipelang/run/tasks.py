"""The task of a plan: what holds for the whole run, wherever the recipe says it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recipelang.errors import Refusal
from recipelang.kinds import DEFAULT_TASK, Dataset, Task
from recipelang.plan import Node, Reading, Tasked, canonical, parts_of, steps_of
from recipelang.surgery.tasks import task_named


def task_of(nodes: tuple[Node, ...]) -> Task:
    """The task that a plan names; else classification."""
    named = (effect.method for step in steps_of(nodes) if isinstance(effect := step.operation.needs().writes, Tasked))
    found: Task = next(named, task_named())
    return found


def require_target(data: Dataset, task: Task) -> None:
    """Refuse data without the targets of the task.

    Raises:
        Refusal: RCP0438.
    """
    if data.target != task.target:
        raise Refusal(
            "RCP0438",
            f"the data `{data.name}` offers the target `{data.target}`, and the task {task.name} needs `{task.target}`",
            "use data of the task, or write `task NAME` for the task of the data",
        )


def deciding(task: Task) -> dict[str, Any]:
    """The task as an ingredient of a key; none for classification as it is by default, which older keys lack."""
    return {} if task == task_named() else {"task": canonical(task)}


def measuring(task: Task) -> dict[str, Any]:
    """The task as an ingredient of a measurement; metrics of classification read none of its settings."""
    return {} if task.name == DEFAULT_TASK else {"task": canonical(task)}


def taken_together(nodes: tuple[Node, ...]) -> Mapping[tuple[str, str], tuple[Any, ...]]:
    """(data, split) → the metrics of predictions that a plan reads there: one pass serves them all."""
    found: dict[tuple[str, str], dict[Any, None]] = {}
    for part in parts_of(nodes):
        if isinstance(part, Reading) and part.metric.source == "predictions":
            found.setdefault((part.data, part.split), {})[part.metric] = None
    return {place: tuple(metrics) for place, metrics in found.items()}
