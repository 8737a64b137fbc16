"""`netadapt(reduction=0.05, decay=0.98, steps=10)`; a reduction that is left out depends on the number of groups."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from recipelang.catalogue import method, setting
from recipelang.kinds import Bench, Figure, Line, Plot, Queue, RemovalStep
from recipelang.methods.allocations._judging import badness, shown
from recipelang.plan import Duration

#: the reduction where none is named, at most: that of the paper
MOST = 0.05
#: by what part of its cost a network is cut further that meets the budget, and not surely; twice that the next time
MARGIN = 0.005
#: a reduction that no group can give is halved so often before the search gives up
HALVINGS = 12


@method("allocation", "netadapt")
@dataclass(frozen=True)
class NetAdapt:
    """Step by step, every group proposes a cut that saves enough; each is tuned briefly, and the best one is kept.

    Formula: an iteration asks for ΔR_i = reduction · decay^i of what the whole network costs. For each group the widest
        of its widths is proposed with which the network costs ΔR_i less than now; the proposals are tuned for `steps`
        steps, and that with the lowest loss (`by=score`: the best score) is kept, with its tuned values. It ends when
        the budget surely holds.
    Cost: computed costs exactly; those of a clock from a table that is measured here: some widths of each group with
        the others whole, briefly, groups that are alike cut together. What is kept is measured in every iteration, and
        corrects the estimates of the next one; so a search needs the measurements of its table and at most one in each
        iteration. The record counts them.
    Needs: a short training and a pass over these samples for every group in every iteration.
    Judged on: a fifth of the training split, at most 1,000 samples, which neither ranking nor tuning uses.
    Parts: the criterion ranks the parts of each group once, before the search. `for` trains after it, on all samples.
    Tuning: with the optimizer of `for`, or the one that `with` names beside it.
    When it misleads: it is greedy, and one group is cut in an iteration; with few steps of tuning, what recovers slowly
        is cut late. A group that cannot give the reduction by itself proposes nothing: with a large one, only wide
        groups are cut. What is kept was tuned in every iteration, so it has been trained for longer than `for` says,
        and its control has not: name a longer `for` for what it is compared with.
    Source: Yang, Howard, Chen, Zhang, Go, Sandler, Sze, Adam, "NetAdapt: platform-aware neural network adaptation for
        mobile applications", ECCV 2018 (algorithm 1); there the largest magnitudes are ranked again in each iteration.
    """

    compares: ClassVar[bool] = False
    prices: ClassVar[bool] = False
    whole: ClassVar[bool] = True
    decides: ClassVar[bool] = True
    budget: ClassVar[bool] = True
    tunes: ClassVar[bool] = True
    adopts: ClassVar[bool] = True
    looks: ClassVar[int] = 40

    reduction: float | None = setting(
        None,
        type="number",
        low=0,
        high=1,
        open_low=True,
        help="What the first iteration saves, of the whole cost; by default half of a group's mean part, at most 5%.",
    )
    decay: float = setting(
        0.98, type="number", low=0, high=1, open_low=True, help="By which the reduction shrinks in each iteration."
    )
    steps: int = setting(10, type="integer", low=0, help="Optimizer steps of tuning of each proposal.")
    by: str = setting("loss", type="word", choices=("loss", "score"), help="What the best proposal is the best in.")

    def explore(self, queues: Sequence[Queue], bench: Bench) -> Sequence[RemovalStep]:
        """The steps that are taken when the budget surely holds, or when no group can be cut any more."""
        search = _Search(self, queues, bench)
        whole = search.cost
        reduction = self.reduction or min(MOST, 1 / (2 * len(queues)))
        for iteration in range(sum(len(queue.steps) for queue in queues)):
            if search.cost <= 1:
                if bench.met(search.taken):
                    break
                search.refused += 1
            wanted = whole * reduction * self.decay**iteration
            proposals = search.proposals(wanted)
            if not proposals:
                break
            search.keep(iteration, proposals)
        search.tell(whole)
        return bench.steps(search.taken)


@dataclass
class _Search:
    """A search under way.

    Attributes:
        taken: steps of each queue.
        cost: of the network as it is, measured: 1 meets the budget.
        tried: how many proposals were tuned.
        table: how many networks were timed for the tables.
        refused: how often what was kept did not surely meet the budget.
        kept: per iteration the cost, how bad the network is, and what was taken.
    """

    asked: NetAdapt
    queues: Sequence[Queue]
    bench: Bench
    taken: tuple[int, ...] = ()
    cost: float = 0.0
    tried: int = 0
    table: int = 0
    refused: int = 0
    kept: list[tuple[float, float, tuple[int, ...]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.taken = (0,) * len(self.queues)
        self.bench.cost(self.taken)  # measures the tables, where there is a clock
        self.table = self.bench.measurements
        self.cost = self.bench.measured(self.taken)

    def proposals(self, wanted: float) -> list[tuple[int, ...]]:
        """What each group proposes so that the network costs this much less, or as much as the budget is away."""
        missing = self.cost - 1 if self.cost > 1 else MARGIN * 2 ** (self.refused - 1) * self.cost
        wanted = min(wanted, missing)
        for _ in range(HALVINGS):
            found = [one for queue in range(len(self.queues)) for one in self._narrowest(queue, self.cost - wanted)]
            if found:
                return found
            wanted /= 2
        return []

    def _narrowest(self, queue: int, goal: float) -> Iterator[tuple[int, ...]]:
        """The first cut of a group with which the network costs no more than the goal, if there is one."""
        correction = self.cost / self.bench.cost(self.taken)  # what was measured, over what the tables say
        for count in range(self.taken[queue] + 1, len(self.queues[queue].steps) + 1):
            taken = (*self.taken[:queue], count, *self.taken[queue + 1 :])
            if self.bench.cost(taken) * correction <= goal:
                yield taken
                return

    def keep(self, iteration: int, proposals: Sequence[tuple[int, ...]]) -> None:
        """Tune each proposal and keep the best one, with its values."""
        best: tuple[float, tuple[int, ...]] | None = None
        network: Any = None  # of the best one, where it was tuned now
        self.bench.progress.start(
            f"iteration {iteration + 1}, at {100 * self.cost:.0f} % of the budget", len(proposals)
        )
        for taken in proposals:
            tuned: list[Any] = []

            def bad(taken: tuple[int, ...] = taken, tuned: list[Any] = tuned) -> float:
                tuned.append(self._tuned(iteration, taken))
                return badness(self.bench.score(tuned[0]), self.asked.by, "netadapt")

            found = float(self.bench.remember(f"{iteration} {list(taken)}", bad))
            if best is None or found < best[0]:
                best, network = (found, taken), tuned[0] if tuned else None
            self.bench.progress.advance(1, f"{self.asked.by} {shown(found, self.asked.by):.3f}")
        self.bench.progress.stop()
        assert best is not None
        self.tried += len(proposals)
        self.taken = best[1]
        if self.asked.steps:
            self.bench.adopt(network if network is not None else self._tuned(iteration, self.taken), self.taken)
        self.cost = self.bench.measured(self.taken)
        self.kept.append((self.cost, best[0], self.taken))

    def _tuned(self, iteration: int, taken: tuple[int, ...]) -> Any:
        """A proposal after its short training: all of an iteration see the same batches."""
        if not self.asked.steps:
            return self.bench.network(taken)
        return self.bench.tuned(taken, Duration(self.asked.steps, "steps"), seed=iteration + 1)

    def tell(self, whole: float) -> None:
        """What the record says: how much was tried and timed, and the way there."""
        iterations, timed = len(self.kept), self.bench.measurements
        figures = [Figure("", iterations, noun="iteration"), Figure("", self.tried, noun="proposal")]
        if timed:
            figures.append(Figure(f"of the clock, {self.table} of them for the table", timed, noun="measurement"))
        costs = tuple(100 * cost / whole for cost, _, _ in self.kept)
        course = Line("", costs, tuple(shown(bad, self.asked.by) for _, bad, _ in self.kept))
        shares = tuple(
            Line(
                queue.group.name,
                tuple(range(iterations + 1)),
                (0.0, *(100 * queue.gone(taken[number]) / queue.group.size for _, _, taken in self.kept)),
            )
            for number, queue in enumerate(self.queues)
        )
        self.bench.tell(
            figures,
            plots=(
                Plot(
                    "The network that each iteration keeps", "cost, % of the whole network's", self.asked.by, (course,)
                ),
                Plot("What each group has lost", "iterations", "% of the group removed", shares),
            ),
        )
