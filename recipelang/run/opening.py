"""The data sets of a plan, opened before anything else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from recipelang.errors import Refusal, StepFailed
from recipelang.images.access import reading
from recipelang.kinds import Dataset, Progress, Task
from recipelang.plan import Node, Opened, Step, steps_of
from recipelang.run.options import Options
from recipelang.run.tasks import require_target


def asked(nodes: tuple[Node, ...]) -> Iterator[tuple[Step, Opened]]:
    """The statements that open data, each name once."""
    seen: set[str] = set()
    for step in steps_of(nodes):
        effect: Any = step.operation.needs().writes
        if isinstance(effect, Opened) and effect.name not in seen:
            seen.add(effect.name)
            yield step, effect


def opened(step: Step, effect: Opened, options: Options, task: Task, progress: Progress | None) -> Dataset:
    """The data set of a statement.

    Raises:
        StepFailed: with the diagnostic at the statement's line.
    """
    try:
        with reading(options.follow_links, progress, options.trust, task):
            data: Dataset = effect.method.open(options.resolve)
        require_target(data, task)
        return data
    except Refusal as refusal:
        raise StepFailed([refusal.at(step.span, step.path)]) from refusal
