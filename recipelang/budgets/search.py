"""How many units must be removed: the smallest number whose removal meets a budget, within a guard.

`removed(k)` is the network without the k least important units. A budget on a cost only gets easier to meet as
units are removed, so the smallest k is found by bisection; a guard may fail anywhere, so it is checked unit by unit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from recipelang.budgets.verdict import Verdict
from recipelang.plan import Condition
from recipelang.surgery.network import Network

Judge = Callable[[Condition, Network, bool], Verdict]


@dataclass(frozen=True)
class Found:
    """Where the search ended.

    Attributes:
        count: units to remove.
        network: the network without them.
        verdict: of the budget; None where there is none.
        met: whether the budget holds (true where there is none).
        guarded: whether the guard ended the search: with one more unit it would fail.
    """

    count: int
    network: Network
    verdict: Verdict | None
    met: bool
    guarded: bool = False


def smallest(
    removed: Callable[[int], Network],
    most: int,
    until: Condition | None,
    guard: Condition | None,
    judge: Judge,
    tried: Callable[[int, Verdict], None] = lambda k, v: None,
) -> Found:
    """The smallest number of units whose removal meets `until`, and no more than `guard` allows.

    Without `until`, as many as the guard allows, at most `most`.

    Args:
        removed: k → the network without the k least important units.
        most: number of units.
        until, guard: conditions of the statement; at least one.
        judge: decides a condition for a network; its third argument asks for certainty.
        tried: called for every number of units that was measured.
    """
    networks: dict[int, Network] = {}
    verdicts: dict[int, Verdict] = {}

    def network(k: int) -> Network:
        if k not in networks:
            networks[k] = removed(k)
        return networks[k]

    def meets(k: int) -> bool:
        if until is None:
            return k == most
        if k not in verdicts:
            verdicts[k] = judge(until, network(k), True)
            tried(k, verdicts[k])
        return verdicts[k].holds

    if not meets(most):
        count, met = most, False
    else:
        low, high = -1, most  # meets(high) holds; meets(low) does not
        while until is not None and high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if meets(middle) else (middle, high)
        count, met = high, True
    if guard is None:
        return Found(count, network(count), verdicts.get(count), met)
    allowed = next((k - 1 for k in range(1, count + 1) if not judge(guard, network(k), False).holds), count)
    if allowed < count:
        met = until is None or meets(allowed)
    return Found(allowed, network(allowed), verdicts.get(allowed), met, allowed < count)
