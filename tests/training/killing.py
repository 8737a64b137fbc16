"""A process that dies in a training: the progress that does it, for tests of checkpoints."""

from __future__ import annotations

from collections.abc import Callable


class Killed(Exception):
    """Simulates a process that dies."""


def kill_after(steps: int) -> Callable[[int], None]:
    """For `Silent`, which calls it after every step: it dies after this many."""

    def then(done: int) -> None:
        if done == steps:
            raise Killed

    return then
