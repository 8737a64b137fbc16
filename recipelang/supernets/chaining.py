"""Learning chains of widths on a bench, and the widths that follow from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from recipelang.kinds import Bench, Line, Plot
from recipelang.supernets import markov
from recipelang.supernets.chains import Bins, Chains, bins_of, drawn, expected
from recipelang.supernets.costs import read_costs
from recipelang.supernets.sandwich import named
from recipelang.supernets.searching import Judge, fits
from recipelang.supernets.shared import Shared


@dataclass(frozen=True)
class Learned:
    """Chains after their training.

    Attributes:
        bench: of the search.
        bins, logits: of each queue.
        cost: the expected cost after each step of the chains.
        judge: of networks that share the weights trained beside them.
    """

    bench: Bench
    bins: tuple[Bins, ...]
    logits: tuple[Tensor, ...]
    cost: tuple[float, ...]
    judge: Judge

    def expected(self) -> tuple[int, ...]:
        """What is taken at the expected widths, brought to the budget."""
        return self._fitted(expected(self.bins, self.logits))

    def sampled(self, count: int) -> list[tuple[int, ...]]:
        """Of this many draws, each brought to the budget, what is taken, the lowest loss first."""
        draws = torch.Generator().manual_seed(self.bench.seed)
        found = dict.fromkeys(self._fitted(drawn(self.bins, self.logits, draws)) for _ in range(count))
        return sorted(found, key=lambda taken: (self.judge.loss(taken), taken))

    @property
    def plots(self) -> tuple[Plot, ...]:
        """The expected cost, step by step."""
        steps = tuple(float(step) for step in range(1, len(self.cost) + 1))
        line = Line("", steps, self.cost)
        return (Plot("Expected cost of the chains", "step", "cost / bound", (line,)),) if len(steps) > 1 else ()

    def _fitted(self, taken: Sequence[int]) -> tuple[int, ...]:
        chances = [markov.kept(logits).tolist() for logits in self.logits]
        return fitted(taken, self.bins, chances, lambda given: fits(self.bench, given))


def learned(settings: Any, weights: Shared, bench: Bench) -> Learned:
    """Train weights and chains on a bench.

    Args:
        settings: of the allocation `dmcp`.
    """
    bins = tuple(bins_of(queue, settings.bins) for queue in weights.queues)
    ends = [each.ends for each in bins]

    def cost(lost: Sequence[int]) -> float:
        return bench.cost([end[count] for end, count in zip(ends, lost, strict=True)])

    bench.progress.say("    reading what widths cost")
    sizes = [[len(parts) for parts in reversed(each.parts)] for each in bins]
    found: dict[str, Tensor] = {}
    companion = Chains(
        groups=named(weights),
        bins=bins,
        warmup=settings.start,
        rate=settings.rate,
        weight=settings.weight,
        random=settings.random,
        seed=bench.seed,
        weights=weights,
        task=bench.task,
        labels=bench.data.labels,
        cost=read_costs(cost, sizes, weights.neighbours()),
        held=tuple(bench.batches()),
        found=found,
    )
    judge = Judge.trained(bench, settings.steps, (companion,))
    logits = tuple(found[str(number)] for number in range(len(bins)))
    return Learned(bench, bins, logits, tuple(found["cost"].tolist()), judge)


def fitted(
    taken: Sequence[int],
    bins: Sequence[Bins],
    chances: Sequence[Sequence[float]],
    holds: Callable[[tuple[int, ...]], bool],
) -> tuple[int, ...]:
    """What is taken, changed by whole bins until a budget holds and no bin more fits into it.

    The bin that is least likely to be kept goes first, and the likeliest one comes back first; ties in the order of the
    network.

    Args:
        taken: at ends of bins.
        bins: of each queue.
        chances: of each queue, that each of its bins is kept, the most important first.
        holds: whether the budget does, after these numbers of steps. It holds with all of them taken.
    """
    lost = [each.ends.index(count) for each, count in zip(bins, taken, strict=True)]

    def steps(counts: Sequence[int]) -> tuple[int, ...]:
        return tuple(each.ends[count] for each, count in zip(bins, counts, strict=True))

    while not holds(steps(lost)):
        open = [queue for queue, each in enumerate(bins) if lost[queue] < each.count]
        if not open:
            return steps(lost)
        lost[min(open, key=lambda q: (chances[q][bins[q].count - lost[q] - 1], q))] += 1
    full: set[int] = set()
    while back := [queue for queue in range(len(bins)) if lost[queue] and queue not in full]:
        queue = min(back, key=lambda q: (-chances[q][bins[q].count - lost[q]], q))
        lost[queue] -= 1
        if not holds(steps(lost)):
            lost[queue] += 1
            full.add(queue)
    return steps(lost)
