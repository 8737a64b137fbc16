"""`task METHOD`: what the network is for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from recipelang.meaning.reader import Reader
from recipelang.meaning.verb import Verb
from recipelang.plan import Needs, Tasked


@dataclass(frozen=True)
class Task:
    """What the network is for: its loss and its metrics."""

    verb: ClassVar[str] = "task"
    version: ClassVar[int] = 1
    role: ClassVar[str] = "setup"
    before_healthy: ClassVar[bool] = True

    method: Any

    def needs(self) -> Needs:
        """What the network is for."""
        return Needs(writes=Tasked(self.method))


def read(reader: Reader) -> Task | None:
    """`task classification`."""
    node = reader.operand("one task", "write `task classification`")
    method = reader.method(node, "task", "`task`", "task classification") if node is not None else None
    return reader.done(Task(method))


VERB = Verb(
    summary="Says what the network is for: its loss and the metrics of the report.",
    operands="a task",
    accepts=("task",),
    clauses=(),
    example="task classification",
    read=read,
    operation=Task,
    rules=(
        "Without this line the task is classification. It holds for the whole recipe, wherever the line is.",
        "Data must offer the targets of the task; metrics, losses, criteria and models of another task are refused.",
    ),
    top_level=True,
    once=True,
    throughout=True,
)
