"""How a removal is divided among groups of parts: the order in which they lose parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from recipelang.kinds.unit import Group


@dataclass(frozen=True)
class RemovalStep:
    """Parts of a group that are removed together.

    Attributes:
        group: its name.
        parts: their numbers.
        score: the mean of their scores; no step of a group is below the one before it.
        unit: the name of the unit whose group it is.
    """

    group: str
    parts: tuple[int, ...]
    score: float
    unit: str = ""


@dataclass(frozen=True)
class Queue:
    """The steps of one group: they are taken in this order, and each leaves a width that the group may have.

    Attributes:
        group: that loses parts.
        scores: of its parts, by number.
        steps: the least important parts first.
        unit: the name of the unit whose group it is.
    """

    group: Group
    scores: tuple[float, ...]
    steps: tuple[RemovalStep, ...]
    unit: str = ""


class Ledger(Protocol):
    """What each step costs and wins, while steps are taken one after another."""

    def lost(self, step: RemovalStep) -> float:
        """The importance that is lost with it now: what was removed before is not lost again."""

    def won(self, step: RemovalStep) -> float:
        """The part of the way to the budget that it wins now; 0 where it wins nothing."""

    def void(self, step: RemovalStep) -> bool:
        """Whether nothing is left of it: the layer that holds its parts was removed."""

    def take(self, step: RemovalStep) -> frozenset[tuple[str, str]]:
        """Take it; (unit, group) of which a step may now cost or win something else."""


class Allocation(Protocol):
    """`prune … with NAME(…)`: one order of the steps of all groups; a budget decides how many of them are taken.

    Attributes:
        compares: whether scores of different groups are compared. Where several units are removed, the criterion's
            scores must then add up on one scale.
        prices: whether it weighs importance against what is won of a budget, and so needs one, and scores that add up.
        whole: whether it can order groups of a single part, which are layers.
    """

    compares: ClassVar[bool]
    prices: ClassVar[bool]
    whole: ClassVar[bool]

    def order(self, queues: Sequence[Queue], ledger: Ledger | None) -> Sequence[RemovalStep]:
        """The steps of all queues, those of a queue in their order; steps that are void may be left out.

        Args:
            queues: in the order of the statement's units and of the network.
            ledger: for an allocation that `prices`, else None.
        """
