"""How many steps must be taken: the smallest number whose removal meets a budget, within a guard.

Step k removes the k-th least important layer, or the k-th few filters; `removed(k)` is the network after k of them.
A computed cost only falls as steps are taken, so the smallest k is found by bisection. A clock falls in stairs: a
width of 33 may be slower than one of 40, and then bisection ends at a wrong stair, so all numbers near its end are
tried. A guard may fail anywhere, so every step is checked where they are few, and every few steps where they are many.

No network is kept: each is made when it is measured, and what was measured is known by its number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from recipelang.budgets.verdict import Verdict
from recipelang.plan import Condition, tests_of
from recipelang.surgery.network import Network

Judge = Callable[[Condition, Network, bool], Verdict]
#: steps before the end of the bisection that are tried for a clock
NEAR = 4
#: how often a guard is checked at most, until it fails, where steps are many
LOOKS = 16


@dataclass(frozen=True)
class SearchResult:
    """Where the search ended.

    Attributes:
        count: steps to take.
        verdict: of the budget; None where there is none.
        met: whether the budget holds (true where there is none).
        guarded: whether the guard ended the search: with one more step it would fail.
    """

    count: int
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
    many: bool = False,
) -> SearchResult:
    """The smallest number of steps that meets `until`, and no more than `guard` allows.

    Without `until`, as many as the guard allows, at most `most`.

    Args:
        removed: k → the network after k steps.
        most: number of steps.
        until, guard: conditions of the statement; at least one.
        judge: decides a condition for a network; its third argument asks for certainty.
        tried: called for every number of steps that was measured.
        many: whether steps are many and small: then a clock is tried `NEAR` the solution, and a guard checked `LOOKS`
            times and between the last two of them.
    """
    verdicts: dict[int, Verdict] = {}

    def meets(k: int) -> bool:
        if until is None:
            return k == most
        if k not in verdicts:
            verdicts[k] = judge(until, removed(k), True)
            tried(k, verdicts[k])
        return verdicts[k].holds

    count, met = most, meets(most)
    if until is not None and met:
        count = _first(meets, -1, most)
        if many and any(test.reading.metric.source == "clock" for test in tests_of(until)):
            count = min(k for k in range(max(0, count - NEAR), count + 1) if meets(k))
    if guard is None:
        return SearchResult(count, verdicts.get(count), met)
    allowed = _allowed(count, lambda k: judge(guard, removed(k), False).holds, many)
    if allowed < count:
        met = until is None or meets(allowed)
    return SearchResult(allowed, verdicts.get(allowed), met, allowed < count)


def _first(holds: Callable[[int], bool], low: int, high: int) -> int:
    """The first number above `low` at which it holds, by bisection: it holds at `high`."""
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def _allowed(count: int, holds: Callable[[int], bool], many: bool) -> int:
    """The largest number of steps up to `count` before which the guard was not seen to fail."""
    stride = -(-count // LOOKS) if many else 1
    passed = 0
    for k in [*range(stride, count, stride), count] if count else []:
        if not holds(k):
            return _first(lambda j: not holds(j), passed, k) - 1  # it is known at both ends, and asked between them
        passed = k
    return count
