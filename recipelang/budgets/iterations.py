"""One ranking against many: in which order parts leave over several rounds, and how the first round ranked them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch

from recipelang.kinds import Queue
from recipelang.scoring.ranking import rank_correlation

Part = tuple[str, int]


@dataclass
class Iterations:
    """The rankings of a unit's parts, round after round; numbers of parts are those of the first round.

    Attributes:
        compares: whether scores of different groups are compared; if not, the order within each group counts.
        once: part → its score in the first round.
        last: part → the round that removed it, infinite where none did, and its score in the last round that ranked it.
        alive: group → its parts that stay, in the order that the network has them now.
        rounds: how many there were.
    """

    compares: bool = True
    once: dict[Part, float] = field(default_factory=dict)
    last: dict[Part, tuple[float, float]] = field(default_factory=dict)
    alive: dict[str, list[int]] = field(default_factory=dict)
    rounds: int = 0

    def add(self, queues: Sequence[Queue], gone: Mapping[str, Sequence[int]]) -> None:
        """Add a round: the scores of every group that may lose parts, and the parts that were removed."""
        self.rounds += 1
        if self.rounds == 1:
            self.alive = {queue.group.name: list(range(len(queue.scores))) for queue in queues}
            self.once = {(queue.group.name, n): score for queue in queues for n, score in enumerate(queue.scores)}
        for queue in queues:
            name, parts = queue.group.name, self.alive.get(queue.group.name)
            if parts is None or len(parts) != len(queue.scores):  # a layer that left has coupled other channels to it
                self.forget(name)
                continue
            leaves = set(gone.get(name, ()))
            for now, (part, score) in enumerate(zip(parts, queue.scores, strict=True)):
                self.last[name, part] = (self.rounds if now in leaves else math.inf, score)
            self.alive[name] = [part for now, part in enumerate(parts) if now not in leaves]

    def forget(self, name: str) -> None:
        """Leave out a group whose parts cannot be followed."""
        self.alive.pop(name, None)
        for known in (self.once, self.last):
            for part in [part for part in known if part[0] == name]:
                del known[part]

    @property
    def correlation(self) -> float | None:
        """Spearman's rank correlation of the first ranking with the order in which rounds removed the parts: within a
        round, and of what stays, by its score there. Within groups, the mean over groups weighted by their parts. None
        for a single round, or where there is no order."""
        if self.rounds < 2:
            return None
        rank = {place: number for number, place in enumerate(sorted(set(self.last.values())))}
        tables: dict[str, list[Part]] = {}
        for part in self.once:
            tables.setdefault("" if self.compares else part[0], []).append(part)
        return rank_correlation(
            [
                (
                    torch.tensor([self.once[part] for part in parts], dtype=torch.float64),
                    torch.tensor([rank[self.last[part]] for part in parts]),
                )
                for parts in tables.values()
            ]
        )
