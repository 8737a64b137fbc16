"""`eagleeye(candidates=50)`."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import ClassVar

from recipelang.catalogue import method, setting
from recipelang.kinds import Bench, Figure, Line, Plot, Queue, RemovalStep
from recipelang.methods.allocations._judging import badness, shown

Signature = tuple[float, ...]  # one number of 0 … 1 for each group: what it loses, in proportion to the others


@method("allocation", "eagleeye")
@dataclass(frozen=True)
class EagleEye:
    """The best of random signatures that meet the budget, each judged with BatchNorm statistics of its own.

    What: a signature says how much of each group goes. A network that was just cut does badly mostly because its
        BatchNorm statistics are those of before; with statistics of its own, how well it does without training tells
        how well it will after it.
    Formula: u ~ U(0, 1) for each group; of n steps a group loses round(min(1, α · u) · n), with the smallest α at which
        the budget holds, by computed costs and by tables of a clock. The candidate with the lowest loss (`by=score`:
        the best score) wins. A clock is then read; where it does not surely meet the budget, α grows until it does.
    Judged on: a fifth of the training split, at most 1,000 samples, with statistics of 512 of the others. The network
        that is removed from keeps its own: write `recalibrate` or `finetune` after it.
    Needs: two short passes for each candidate.
    When it misleads: candidates are few and groups are many, so the best one is better than the others, and not the
        best that there is. Where there is no BatchNorm, a candidate is judged as it was cut.
    Source: Li, Wu, Su, Wang, "EagleEye: fast sub-net evaluation for efficient neural network pruning", ECCV 2020; there
        1,000 candidates within a range of FLOPs, by rejection.
    """

    compares: ClassVar[bool] = False
    prices: ClassVar[bool] = False
    whole: ClassVar[bool] = True
    decides: ClassVar[bool] = True
    budget: ClassVar[bool] = True
    looks: ClassVar[int] = 30

    candidates: int = setting(50, type="integer", low=1, positional=True, help="How many signatures are drawn.")
    by: str = setting("loss", type="word", choices=("loss", "score"), help="What the best candidate is the best in.")

    def explore(self, queues: Sequence[Queue], bench: Bench) -> Sequence[RemovalStep]:
        """The steps of the best candidate that surely meets the budget; all steps where none does."""
        every = tuple(len(queue.steps) for queue in queues)
        found: dict[tuple[int, ...], tuple[float, Signature]] = {}
        bench.progress.start("judging signatures", self.candidates)
        for signature in self.drawn(len(queues), bench.seed):
            taken = within(signature, every, bench)
            if taken is not None and taken not in found:
                key = f"{self.by} {list(taken)}"
                found[taken] = float(bench.remember(key, partial(self._bad, bench, taken))), signature
            bench.progress.advance()
        bench.progress.stop()
        self._tell(bench, found)
        for taken in sorted(found, key=lambda taken: found[taken][0]):
            met = surely(found[taken][1], taken, every, bench)
            if met is not None:
                return bench.steps(met)
        return bench.steps(every)

    def drawn(self, groups: int, seed: int) -> list[Signature]:
        """The seeded signatures."""
        draws = random.Random(seed)
        return [tuple(draws.random() for _ in range(groups)) for _ in range(self.candidates)]

    def _bad(self, bench: Bench, taken: Sequence[int]) -> float:
        return badness(bench.score(taken, recalibrated=True), self.by, "eagleeye")

    def _tell(self, bench: Bench, found: dict[tuple[int, ...], tuple[float, Signature]]) -> None:
        values = [shown(bad, self.by) for bad, _ in found.values()]
        if not values:
            return
        best = min(found.values())[0]
        note = (
            f"eagleeye: {self.by} {shown(best, self.by):.4g} of the best signature, {median(values):.4g} of the median"
        )
        line = Line("", tuple(range(1, len(values) + 1)), tuple(values))
        plot = Plot("Signatures that meet the budget", "signature", self.by, (line,), points=True)
        bench.tell([Figure("within the budget", len(found), noun="signature", of=self.candidates)], note, (plot,))


def scaled(signature: Signature, steps: Sequence[int], alpha: float) -> tuple[int, ...]:
    """How many steps of each group a signature takes at a scale."""
    return tuple(round(min(1.0, alpha * part) * count) for part, count in zip(signature, steps, strict=True))


def scales(signature: Signature, steps: Sequence[int]) -> list[float]:
    """The scales at which a signature takes one step more of some group, ascending."""
    found = {
        (k + 0.5) / count / part for part, count in zip(signature, steps, strict=True) for k in range(count) if part
    }
    return sorted(alpha * (1 + 1e-9) for alpha in found)


def within(signature: Signature, steps: Sequence[int], bench: Bench) -> tuple[int, ...] | None:
    """What a signature takes at the smallest scale at which the costs meet the budget, by bisection; None at none."""
    from recipelang.searching.bisection import bisected

    alphas = scales(signature, steps)
    if not alphas or bench.cost(scaled(signature, steps, alphas[-1])) > 1:
        return None
    least = bisected(lambda k: bench.cost(scaled(signature, steps, alphas[k])) <= 1, -1, len(alphas) - 1)
    return scaled(signature, steps, alphas[least])


def surely(signature: Signature, taken: tuple[int, ...], steps: Sequence[int], bench: Bench) -> tuple[int, ...] | None:
    """What a signature takes at a small scale from `taken` on at which the budget surely holds; None at none."""
    from recipelang.searching.bisection import bisected

    more = [scaled(signature, steps, alpha) for alpha in scales(signature, steps)]
    more = [each for each in more if sum(each) >= sum(taken)]
    low, high = -1, 0  # doubling, then bisection: a clock takes long to be sure
    while high < len(more) - 1 and not bench.met(more[high]):
        low, high = high, min(2 * high + 1, len(more) - 1)
    if not more or not bench.met(more[high]):
        return None
    return more[bisected(lambda k: bench.met(more[k]), low, high)]
