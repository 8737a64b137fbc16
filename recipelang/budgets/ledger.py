"""What steps lose of the network's importance, and what they win of a budget, while they are taken one after another.

A budget counts by the part of its distance that a step covers. What a sort of parts wins per removed parameter is read
from networks without much of that sort, at the start and again half way; which parameters a step removes is counted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from recipelang.budgets.elements import Elements
from recipelang.kinds import Queue, RemovalStep

#: (unit, group)
Key = tuple[str, str]
#: how often numbers are read where estimates have reached the goals, and the way goes on if they have not
MOST_CORRECTIONS = 3


@dataclass(frozen=True)
class Goal:
    """One number that a budget reads.

    Attributes:
        bound: where it is to be.
        falls: whether it has to be below the bound; else above.
    """

    bound: float
    falls: bool = True

    def way(self, start: float, end: float) -> float:
        """How far it is from a number to another, in the direction of the bound."""
        return start - end if self.falls else end - start


class Accounts:
    """A `kinds.Ledger` of several units against the goals of a budget, all of which are to be reached.

    Args:
        queues: of all units.
        elements: of the network before the first step.
        sorts: groups that win the same (`sorts.sorts_of`).
        goals: of the budget.
        look: steps → the number of each goal, read from the network without them.
        shares: (layer, group) → the part of each score of the group that is inside the layer.
    """

    def __init__(
        self,
        queues: Sequence[Queue],
        elements: Elements,
        sorts: Sequence[Sequence[Key]],
        goals: Sequence[Goal],
        look: Callable[[Sequence[RemovalStep]], Sequence[float]],
        shares: Mapping[tuple[Key, Key], Sequence[float]],
    ) -> None:
        self.spent: float = 0.0  # importance lost so far
        self.reached: float | None = None  # what it was when all goals were reached, by the estimates
        self._queues = {(queue.unit, queue.group.name): queue for queue in queues}
        self._scores = {key: list(queue.scores) for key, queue in self._queues.items()}
        self._next = dict.fromkeys(self._queues, 0)
        self._void: set[Key] = set()
        self._taken: list[RemovalStep] = []
        self._elements, self._goals, self._look, self._shares = elements, goals, look, shares
        self._sorts = sorts
        self._start = self._now = list(look([]))
        self._surveys = self._corrections = 0
        self._rates: dict[Key, list[float]] = {}
        self._survey()

    # -- the ledger -----------------------------------------------------------------------------------

    def lost(self, step: RemovalStep) -> float:
        """The sum of the scores of its parts, less what is gone of them already."""
        scores = self._scores[step.unit, step.group]
        return sum(scores[part] for part in step.parts)

    def won(self, step: RemovalStep) -> float:
        """The part of the way to each open goal that it covers, added up."""
        count, rates = self._elements.of(step), self._rates[step.unit, step.group]
        return sum(rates[k] * count / self._need(k) for k in self._open)

    def void(self, step: RemovalStep) -> bool:
        """Whether a removed layer took its group along."""
        return (step.unit, step.group) in self._void

    def take(self, step: RemovalStep) -> frozenset[Key]:
        """Take it; the groups that share parameters with it, or all where the goals or the rates have changed."""
        key = step.unit, step.group
        self.spent += self.lost(step)
        self._pay(key, step)
        open, rates = self._open, self._rates[key]
        count = self._elements.take(step)
        self._now = [
            now - (rate if goal.falls else -rate) * count
            for now, rate, goal in zip(self._now, rates, self._goals, strict=True)
        ]
        self._taken.append(step)
        self._next[key] += 1
        if self._surveys < 2 and self._progress() >= 0.5:
            self._survey()
            return frozenset(self._queues)
        if self.reached is None and self._all_met():
            self._correct()
        if open != self._open:
            return frozenset(self._queues)
        mine = self._elements.touched(*key)
        return frozenset(other for other in self._queues if mine & self._elements.touched(*other)) | {key}

    # -- importance -----------------------------------------------------------------------------------

    def _pay(self, key: Key, step: RemovalStep) -> None:
        """What is lost with a step is not lost again with what holds it, or is inside it."""
        for (layer, group), inside in self._shares.items():
            if group == key:
                self._scores[layer][0] -= sum(inside[part] for part in step.parts)
            elif layer == key:
                self._scores[group] = [score - part for score, part in zip(self._scores[group], inside, strict=True)]
        if self._queues[key].group.size == 1:
            paths = self._queues[key].group.layers
            held = (other for other, queue in self._queues.items() if other != key and queue.group.inside(paths))
            self._void |= set(held)

    # -- the budget -----------------------------------------------------------------------------------

    def _need(self, k: int) -> float:
        """The whole way to a goal; once all are reached, that to nothing."""
        way = self._goals[k].way(self._start[k], self._goals[k].bound)
        return way if way > 0 else abs(self._start[k]) or 1.0

    def _met(self, k: int) -> bool:
        return self._goals[k].way(self._now[k], self._goals[k].bound) < 0

    def _all_met(self) -> bool:
        return all(self._met(k) for k in range(len(self._goals)))

    def _correct(self) -> None:
        """Read the numbers where the estimates have reached the goals: what is left of the way is gone as well."""
        if self._corrections < MOST_CORRECTIONS:
            self._corrections += 1
            self._now = list(self._look(self._taken))
        if self._all_met():
            self.reached = self.spent

    @property
    def _open(self) -> tuple[int, ...]:
        """The goals that are not reached; all of them once none is left."""
        every = tuple(range(len(self._goals)))
        return tuple(k for k in every if not self._met(k)) or every

    def _progress(self) -> float:
        """The mean over the goals of the part of the way that was covered, by the estimates."""
        ways = [
            min(1.0, goal.way(start, now) / self._need(k))
            for k, (goal, start, now) in enumerate(zip(self._goals, self._start, self._now, strict=True))
        ]
        return sum(ways) / len(ways)

    # -- what sorts of parts win ----------------------------------------------------------------------

    def _survey(self) -> None:
        """Read what each sort wins per element: of all groups of it that are left, half of their steps are taken."""
        self._surveys += 1
        if self._taken:
            self._now = list(self._look(self._taken))
        for keys in self._sorts:
            steps = [step for key in keys if key not in self._void for step in self._half(key)]
            elements = self._elements.copy()
            count = sum(elements.take(step) for step in steps)
            if count:
                seen = self._look([*self._taken, *steps])
                ways = (goal.way(*pair) for goal, *pair in zip(self._goals, self._now, seen, strict=True))
                rates = [max(0.0, way) / count for way in ways]
                self._rates |= dict.fromkeys(keys, rates)
            else:
                for key in keys:
                    self._rates.setdefault(key, [0.0] * len(self._goals))

    def _half(self, key: Key) -> Sequence[RemovalStep]:
        """The first half of what is left of a queue, at least one step."""
        left = self._queues[key].steps[self._next[key] :]
        return left[: -(-len(left) // 2)]
