"""Training networks of all widths at once: the whole one learns the task, the others learn from it.

Yu and Huang, "Universally slimmable networks and improved training techniques", ICCV 2019: the sandwich rule and
in-place distillation.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from torch import Tensor, nn

from recipelang.kinds import Companion, Labels, Moment, Seen, Taken, Task
from recipelang.plan import unhashed
from recipelang.supernets.shared import Shared, run


@dataclass(frozen=True, kw_only=True)
class Sandwich(Companion):
    """Trains the smallest network and some of random widths beside the whole one, at every step.

    Formula: loss of the whole network + Σ divergence(network of a width, whole network), without gradients to the whole
        one through its answer. Every number of steps of a queue is equally likely, for each queue by itself.

    Attributes:
        groups: of the queues, by unit and name.
        random: how many networks of random widths there are at every step.
        seed: of their widths.
        weights: of the networks of all widths.
        task: whose divergence it is, and labels: of the data.
    """

    groups: tuple[str, ...]
    random: int
    seed: int
    weights: Shared = unhashed()
    task: Any = unhashed()
    labels: Labels | None = unhashed()

    def penalty(self, seen: Seen, state: nn.Module | None, moment: Moment) -> Tensor:
        """The sum over the other networks of this step."""
        return distilled(self.widths(moment.step), seen, self.weights, self.task, self.labels)

    def widths(self, step: int) -> list[tuple[int, ...]]:
        """How many steps of each queue are taken: all of them, and then numbers drawn at random."""
        draws = Random(f"{self.seed} {step}")
        most = self.weights.most
        return [most, *(tuple(draws.randint(0, end) for end in most) for _ in range(self.random))]


def distilled(widths: Iterable[Taken], seen: Seen, weights: Shared, task: Task, labels: Labels | None) -> Tensor:
    """Σ over widths of the divergence of their network's answer from the whole network's.

    Args:
        widths: how many steps of each queue are taken.
        seen: the whole network at work.
        weights: of the networks of all widths.
        task: whose divergence.
        labels: of the data.
    """
    teacher, module = seen.outputs.detach(), seen.network.module
    parameters = dict(module.named_parameters(remove_duplicate=False))
    total = teacher.new_zeros(())
    for taken in widths:
        raw = run(module, weights.values(parameters, weights.gates(taken)), seen.inputs)
        total = total + task.divergence(task.answer(raw, None, labels), teacher)
    return total


def named(weights: Shared) -> tuple[str, ...]:
    """The queues by unit and group, with the widths that they may have: they decide what a training does."""
    return tuple(f"{q.unit} {q.group.name}: {_parts([step.parts for step in q.steps])}" for q in weights.queues)


def _parts(steps: Sequence[Sequence[int]]) -> str:
    return " | ".join(" ".join(map(str, parts)) for parts in steps)
