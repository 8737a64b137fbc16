"""The task of a network, by the name under which it is saved with it."""

from __future__ import annotations

from functools import cache

from recipelang.catalogue import find
from recipelang.errors import Refusal
from recipelang.kinds import DEFAULT_TASK, Task


@cache
def task_named(name: str = DEFAULT_TASK) -> Task:
    """The task of this name, with its default settings: what a network's answer is does not depend on them.

    Raises:
        Refusal: RCP0714: there is no such task here.
    """
    found = find("task", name)
    if found is None:
        raise Refusal(
            "RCP0714",
            f"the network is for the task `{name[:60]}`, which is not installed",
            "install the package that adds the task; `recipe list task` lists those that are there",
        )
    made: Task = found()
    return made
