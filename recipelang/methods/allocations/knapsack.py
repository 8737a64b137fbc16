"""`prune layers, filters by taylor until latency < 0.6`: the default for several units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from recipelang.catalogue import method
from recipelang.kinds import Ledger, Queue, RemovalStep


@method("allocation", "knapsack")
@dataclass(frozen=True)
class Knapsack:
    """What loses least importance for what it wins of the budget is removed first: layers against filters, at a price.

    Formula: the next step is that of the smallest price = importance lost / part of the budget won. A step that loses
        nothing comes first, the one with the lowest score before others; a step that wins nothing comes last.
    Importance: sums of single scores, so that units can be compared: a layer loses the sum over all weights inside it,
        less those of filters removed before. Only criteria whose scores add up can be used; their root over a filter,
        their mean over a layer and normalisation by group are left out.
    Budget won: of a condition joined by `and`, each test counts by the part of its distance that a step covers, until
        it is met. Of one joined by `or`, the alternative that loses least importance. A computed cost and a clock are
        measured on a few networks: for each sort of groups of equal size and effect, one in which all of them are cut
        by half (layers: without them), at the start and again half way. Between two measurements, what a step wins is
        in proportion to the parameters that it removes, which are counted exactly.
    Rounds: with `over`, everything is ranked and measured again in every round.
    When it misleads: importance of removed parts is added up, though two that can replace one another lose more
        together; on a clock, a step wins what its sort wins on average, and single widths are faster or slower than
        that. The network that is kept is measured in any case.
    Source: Shen, Yin, Molchanov et al., "Structural pruning via latency-saliency knapsack", NeurIPS 2022, solved there
        by dynamic programming; here by the greedy rule for knapsacks, Dantzig, "Discrete-variable extremum problems",
        Operations Research 1957. Layers against filters: Elkerdawy et al., "To filter prune, or to layer prune, that is
        the question", ACCV 2020.
    """

    compares: ClassVar[bool] = True
    prices: ClassVar[bool] = True
    whole: ClassVar[bool] = True

    def order(self, queues: Sequence[Queue], ledger: Ledger | None) -> Sequence[RemovalStep]:
        """The steps in the order in which they are bought; void ones are left out."""
        assert ledger is not None
        waiting = {(queue.unit, queue.group.name): list(reversed(queue.steps)) for queue in queues}
        prices: dict[tuple[str, str], tuple[float, float]] = {}
        order: list[RemovalStep] = []
        changed: set[tuple[str, str]] = set(waiting)
        while waiting:
            for key in changed & waiting.keys():
                if ledger.void(waiting[key][-1]):
                    del waiting[key]
                    prices.pop(key, None)
                else:
                    prices[key] = _price(ledger, waiting[key][-1])
            if not waiting:
                break
            best = min(waiting, key=prices.__getitem__)
            step = waiting[best].pop()
            order.append(step)
            changed = {best, *ledger.take(step)}
            if not waiting[best]:
                del waiting[best]
        return order


def _price(ledger: Ledger, step: RemovalStep) -> tuple[float, float]:
    """What steps are ordered by: those that lose nothing, by price, and those that win nothing."""
    lost, won = ledger.lost(step), ledger.won(step)
    if lost <= 0:
        return float("-inf"), lost
    return (lost / won, lost) if won > 0 else (float("inf"), lost)
