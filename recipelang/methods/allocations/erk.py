"""`sparsify weights to 90% with erk`: Erdős–Rényi–Kernel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import prod
from typing import ClassVar

from recipelang.catalogue import method
from recipelang.kinds import Ledger, Queue, RemovalStep


@method("allocation", "erk")
@dataclass(frozen=True)
class Erk:
    """Large weights lose a larger share than small ones: the density falls with the number of inputs and outputs.

    Formula: density of a weight = min(1, ε · (O + I + kh + kw) / (O · I · kh · kw)), for linear weights
        (O + I) / (O · I); ε is the one at which all weights together have the share of zeros that is asked for.
    Shapes: weights O×I or O×I×kh×kw, in groups as they are stored; rounded to whole pieces of the pattern.
    Needs: nothing but shapes; the criterion ranks inside a weight alone.
    When it misleads: small weights stay dense, and where these are early convolutions on large images, the network
        needs about twice the FLOPs of one with the same share everywhere.
    Source: Evci, Gale, Menick, Castro, Elsen, "Rigging the lottery: making all tickets winners", ICML 2020, after
        Mocanu et al., Nature Communications 2018.
    """

    compares: ClassVar[bool] = False
    prices: ClassVar[bool] = False
    whole: ClassVar[bool] = False
    parts: ClassVar[bool] = False
    patterns: ClassVar[bool] = True

    def order(self, queues: Sequence[Queue], ledger: Ledger | None) -> Sequence[RemovalStep]:
        """The steps in the order of the ε at which they are reached, the largest first."""
        reached = []
        for queue in queues:
            shape: Sequence[int] = queue.group.source
            one = sum(shape) / prod(shape)  # the density at ε = 1
            gone = accumulate(len(step.parts) for step in queue.steps)
            kept = [1 - count / queue.group.size for count in gone]
            reached += [(density / one, step) for density, step in zip(kept, queue.steps, strict=True)]
        return [step for _, step in sorted(reached, key=lambda pair: -pair[0])]
