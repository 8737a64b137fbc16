"""What searches over widths share: judging networks, keeping to the budget, telling what was found."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from random import Random
from typing import Any

from recipelang.kinds import Bench, Figure, Line, Plot, Queue, Taken
from recipelang.plan import Duration
from recipelang.searching.settling import LOOKS, enough
from recipelang.supernets.evolution import Budget, Genes, generation
from recipelang.supernets.generated import Generated
from recipelang.supernets.shared import Shared, filled, without
from recipelang.surgery.network import Network


def fits(bench: Bench, taken: Taken) -> bool:
    """Whether widths meet the budget, as its costs are computed or read from tables."""
    return bench.cost(taken) <= 1


@dataclass
class Judge:
    """The loss of networks of all widths, on samples that were held out; each is known once it was judged.

    Attributes:
        bench: of the search.
        network: whose weights they share.
        known: what is taken → the loss.
    """

    bench: Bench
    network: Network
    known: dict[Genes, float] = field(default_factory=dict)

    @classmethod
    def trained(cls, bench: Bench, steps: int, companions: Sequence[Any]) -> Judge:
        """After a training of the whole network with companions that train the others beside it."""
        network = bench.tuned(bench.whole, Duration(steps, "steps"), companions=companions, key="supernet")
        return cls(bench, network)

    def loss(self, taken: Taken) -> float:
        """Of the network that is left, with BatchNorm's statistics estimated again."""
        key = tuple(taken)
        if key not in self.known:
            name = "judged " + " ".join(map(str, key))
            self.known[key] = self.bench.remember(name, lambda: self._judged(key))
        return self.known[key]

    def at(self, taken: Genes) -> Network:
        """The network of these widths, with the weights that it shares with the others."""
        return without(self.network, taken, self.bench)

    def _judged(self, taken: Genes) -> float:
        return float(self.bench.score(self.at(taken), recalibrated=True).loss)


@dataclass
class GeneratedJudge(Judge):
    """The loss of networks whose weights are generated for their widths.

    Attributes:
        network: the whole network, in whose shape weights are generated.
        generated: the trained generator.
    """

    generated: Generated | None = None

    @classmethod
    def generating(cls, bench: Bench, weights: Shared, steps: int, hidden: int, direct: int) -> GeneratedJudge:
        """After a training with random widths."""
        module = Generated(bench.whole.module, weights, hidden=hidden, direct=direct, seed=bench.seed)
        given = module.as_network(bench.whole)
        trained = bench.tuned(given, Duration(steps, "steps"), key="generator")
        return cls(bench, bench.whole, generated=trained.module)

    def at(self, taken: Genes) -> Network:
        """The network of these widths, with the weights that are generated for them."""
        assert self.generated is not None
        filling = (self.generated.inner.state_dict(), self.generated.values(taken))
        return without(filled(self.network, *filling), taken, self.bench)


def evolved(
    bench: Bench, judge: Judge, budget: Budget, size: int, generations: int, chance: float
) -> tuple[dict[Genes, float], list[Genes]]:
    """An evolutionary search: all networks judged, and the best one after each generation."""
    known: dict[Genes, float] = {}
    path: list[Genes] = []
    for turn in range(generations):
        draws = Random(f"{bench.seed} {turn}")
        new = generation(known, budget, size, chance, draws)
        bench.progress.start(f"generation {turn + 1} of {generations}", len(new))
        try:
            for genes in new:
                known[genes] = judge.loss(genes)
                bench.progress.advance()
        finally:
            bench.progress.stop()
        if not new:
            break  # there is no other network within the budget
        path.append(min(known, key=lambda genes: (known[genes], genes)))
    return known, path


def meeting(bench: Bench, candidates: Iterable[Taken], most: Taken) -> Genes:
    """The first of a few candidates at which the budget holds when it is measured. Where it holds at none, the first
    one loses steps of the groups that have lost least until it does, or until nothing is left to lose."""
    first: Genes | None = None
    for candidate in islice(candidates, LOOKS):
        first = first or tuple(candidate)
        if bench.met(candidate):
            return tuple(candidate)
    start, order = list(first or most), []
    taken = list(start)
    while open := [queue for queue, end in enumerate(most) if taken[queue] < end]:
        order.append(min(open, key=lambda queue: (taken[queue] / most[queue], queue)))
        taken[order[-1]] += 1
    return tuple(enough(start, order, bench.met))


def told(
    queues: Sequence[Queue], bench: Bench, path: Sequence[Taken], judge: Judge, plots: Sequence[Plot] = ()
) -> dict[str, Any]:
    """What record and report say of a search.

    Args:
        path: what was taken on the way, the result last.
        judge: of the networks on the way.
        plots: further ones.
    """
    widths = [queue.group.size - queue.gone(count) for queue, count in zip(queues, path[-1], strict=True)]
    sizes = [queue.group.size for queue in queues]
    numbers = tuple(float(number) for number in range(1, len(queues) + 1))
    lines = tuple(
        Line(name, numbers, tuple(map(float, values))) for name, values in (("whole", sizes), ("chosen", widths))
    )
    drawn = [Plot("Width of each group", "group, in the order of the network", "parts", lines, points=True), *plots]
    known = [taken for taken in map(tuple, path) if taken in judge.known]
    if len(known) > 1:
        curve = Line("", tuple(bench.cost(taken) for taken in known), tuple(judge.known[taken] for taken in known))
        drawn.append(Plot("Search", "cost / bound", "loss on held-out samples", (curve,)))
    figures = [Figure("judged", len(judge.known), noun="network")] if judge.known else []
    chosen = ", ".join(
        f"{queue.group.name} {width} of {queue.group.size}" for queue, width in zip(queues, widths, strict=True)
    )
    return {"figures": figures, "note": f"widths: {chosen}", "plots": drawn}
