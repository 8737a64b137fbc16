"""`prune filters by magnitude with uniform`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import ClassVar

from recipelang.catalogue import method
from recipelang.kinds import Ledger, Queue, RemovalStep


@method("allocation", "uniform")
@dataclass(frozen=True)
class Uniform:
    """The same share of every group: the criterion ranks inside a group alone, and a budget decides the share.

    Formula: steps in the order of the share of their group that is removed once they are taken; ties in the order of
        the network. So after any number of steps, no group is more than one step ahead of the others.
    Widths: shares differ by what rounding allows: of 16 filters in steps of 2 and of 64 in steps of 8 an eighth each.
    Needs: groups of several parts: a layer is removed or stays. Scores need not be comparable between groups.
    When it misleads: layers differ in how many filters they can lose, and a share that one layer can spare ruins
        another.
    Source: Li et al., "Pruning filters for efficient ConvNets", ICLR 2017, prunes layers of a stage by the same ratio;
        named so in Blalock et al., "What is the state of neural network pruning?", MLSys 2020.
    """

    compares: ClassVar[bool] = False
    prices: ClassVar[bool] = False
    whole: ClassVar[bool] = False
    patterns: ClassVar[bool] = True

    def order(self, queues: Sequence[Queue], ledger: Ledger | None) -> Sequence[RemovalStep]:
        """All steps, those that leave the largest share of their group first."""
        shared = [
            (removed / queue.group.size, step)
            for queue in queues
            for removed, step in zip(accumulate(len(step.parts) for step in queue.steps), queue.steps, strict=True)
        ]
        return [step for _, step in sorted(shared, key=lambda pair: pair[0])]
