"""Evolutionary search for numbers of steps within a budget.

Liu et al., "MetaPruning: meta learning for automatic neural network channel pruning", ICCV 2019, Algorithm 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from recipelang.searching.bisection import bisected

#: how many steps of each queue are taken
Genes = tuple[int, ...]
#: how often a draw is repeated until it fits, before it is cut to the budget
TRIES = 20


@dataclass(frozen=True)
class Budget:
    """Which genes are allowed.

    Attributes:
        most: the number of steps of each queue; with all of them taken the budget holds.
        fits: whether it holds; with more steps taken it goes on holding.
    """

    most: Genes
    fits: Callable[[Genes], bool]

    def within(self, draw: Callable[[], Genes], draws: Random) -> Genes:
        """What `draw` gives, once it fits, and then as wide as the budget allows: steps are given back in a random
        order. After `TRIES` draws that do not fit, steps are taken in a random order until the last one does."""
        for _ in range(TRIES):
            genes = draw()
            if self.fits(genes):
                return self._filled(genes, draws)
        return self._cut(genes, draws)

    def _filled(self, genes: Genes, draws: Random) -> Genes:
        back = [queue for queue, count in enumerate(genes) for _ in range(count)]
        draws.shuffle(back)
        return _moved(genes, back, -1, last(lambda k: self.fits(_moved(genes, back, -1, k)), len(back)))

    def _cut(self, genes: Genes, draws: Random) -> Genes:
        more = [queue for queue, end in enumerate(self.most) for _ in range(end - genes[queue])]
        draws.shuffle(more)
        return _moved(genes, more, 1, 1 + last(lambda k: not self.fits(_moved(genes, more, 1, k)), len(more)))


def _moved(genes: Genes, queues: Sequence[int], by: int, count: int) -> Genes:
    """The genes after the first `count` of some steps."""
    moved = list(genes)
    for queue in queues[:count]:
        moved[queue] += by
    return tuple(moved)


def last(holds: Callable[[int], bool], end: int) -> int:
    """The last number from 0 to `end` at which something holds, which does at 0 and no more once it does not."""
    return bisected(lambda k: not holds(k), 0, end + 1) - 1


def random_genes(budget: Budget, draws: Random) -> Genes:
    """Every number of steps of a queue is equally likely, as far as the budget allows."""
    return budget.within(lambda: tuple(draws.randint(0, most) for most in budget.most), draws)


def mutated(parent: Genes, budget: Budget, chance: float, draws: Random) -> Genes:
    """Each gene is drawn again with this chance."""

    def draw() -> Genes:
        pairs = zip(parent, budget.most, strict=True)
        return tuple(draws.randint(0, most) if draws.random() < chance else gene for gene, most in pairs)

    return budget.within(draw, draws)


def crossed(one: Genes, other: Genes, budget: Budget, draws: Random) -> Genes:
    """Each gene is that of one of the two parents, drawn at random."""
    return budget.within(lambda: tuple(draws.choice(pair) for pair in zip(one, other, strict=True)), draws)


def generation(known: Mapping[Genes, float], budget: Budget, size: int, chance: float, draws: Random) -> list[Genes]:
    """New genes: half of them mutate one of the best, half cross two of them; drawn at random where there are none.

    Args:
        known: genes judged so far → their loss. The best fifth of a generation's size are parents.
        size: of a generation. Fewer new ones may be found in a small budget.
    """
    parents = best(known, max(2, size // 5))
    found: list[Genes] = []
    for turn in range(size * TRIES):
        if len(found) == size:
            break
        if len(parents) < 2:
            genes = random_genes(budget, draws)
        elif turn % 2:
            genes = crossed(draws.choice(parents), draws.choice(parents), budget, draws)
        else:
            genes = mutated(draws.choice(parents), budget, chance, draws)
        if genes not in known and genes not in found:
            found.append(genes)
    return found


def best(known: Mapping[Genes, float], count: int) -> Sequence[Genes]:
    """The genes of the lowest losses, the best first; equal ones in their order."""
    return sorted(known, key=lambda genes: (known[genes], genes))[:count]
