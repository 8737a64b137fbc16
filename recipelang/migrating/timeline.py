"""One training with things that begin and end at epochs becomes statements, one after another.

SparseML and Distiller describe a training in which everything refers to the same count of epochs. Here every statement
trains for its own part: the stretch before a pruning, the pruning with its schedule, the stretch after it. A stretch is
cut where the learning rate changes its law, so that each part has one ramp.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

#: shorter parts than this share of an epoch are errors of rounding
SHORTEST = 1e-6


@dataclass(frozen=True)
class Pruning:
    """Zeros, or parts, whose number grows from an epoch to another.

    Attributes:
        line, name: of the item in the file.
        verb: `sparsify` or `prune`; `pattern` is `weights`, `filters`, `nm 2:4`, …
        start, end: epochs of the training; equal where it happens at once.
        initial, final: shares; None where the pattern says how many.
        every: epochs between two updates; 0 after every step.
        by: the criterion, as it is written; `over` the schedule's name, or a whole schedule in its place.
        scope: `global`, `sensitivity` or "".
        where: the clause `in`.
        lines: of all items that it stands for.
    """

    line: int
    name: str
    verb: str
    pattern: str
    start: float
    end: float
    initial: float
    final: float | None
    every: float
    by: str = "magnitude"
    over: str = "agp"
    scope: str = ""
    where: str = ""
    lines: tuple[int, ...] = ()

    def like(self, other: Pruning) -> bool:
        """Whether the two differ only in their layers, so that one statement says both."""
        return bool(self.where and other.where) and replace(self, where="", line=0, lines=()) == replace(
            other, where="", line=0, lines=()
        )


@dataclass(frozen=True)
class Event:
    """Statements that happen at an epoch, without training of their own."""

    line: int
    name: str
    at: float
    texts: tuple[str, ...]


@dataclass(frozen=True)
class Teaching:
    """Distillation from an epoch to another."""

    line: int
    start: float
    end: float
    loss: str


@dataclass(frozen=True)
class Rate:
    """A law of the learning rate, from an epoch to another.

    Attributes:
        law: `constant`, `linear`, `cosine` or `multistep`.
        first, last: the value at its start, and the one approached at its end.
        factor, at: of `multistep`, with epochs of the training.
    """

    line: int
    law: str
    start: float
    end: float
    first: float
    last: float = 0.0
    factor: float = 1.0
    at: tuple[float, ...] = ()

    def value(self, epoch: float) -> float:
        """The learning rate at an epoch of the training."""
        done = 0.0 if math.isinf(self.end) else min(1.0, max(0.0, (epoch - self.start) / (self.end - self.start or 1)))
        if self.law == "linear":
            return self.first + (self.last - self.first) * done
        if self.law == "cosine":
            return self.last + (self.first - self.last) * (1 + math.cos(math.pi * done)) / 2
        return self.first * self.factor ** sum(epoch >= mark for mark in self.at)


@dataclass
class Timeline:
    """What a file says about one training.

    Attributes:
        total: its epochs.
        optimizer: its name, and its settings but the learning rate.
        companion: what accompanies the trainings after a pruning, and before.
    """

    total: float = 0.0
    optimizer: str = "sgd"
    settings: tuple[str, ...] = ()
    prunings: list[Pruning] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    teachings: list[Teaching] = field(default_factory=list)
    rates: list[Rate] = field(default_factory=list)
    companion: str = ""
