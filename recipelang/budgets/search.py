"""How many steps must be taken: the smallest number whose removal meets a budget, within a guard.

Step k removes the k-th least important layer, or the k-th few filters; `removed(k)` is the network after k of them.

    computed costs  fall as steps are taken: they bound the numbers that come into question, without a clock
    a clock, few    bisection: at most log2(n) + 2 measurements
    a clock, many   falls in stairs that may rise again. Bisection finds where the network is too slow by more than a
                    stair can be wrong; above it, numbers are tried from the smallest one on until the budget holds
    a guard         may fail anywhere, so every step is checked where they are few, every few steps where they are many

No network is kept: each is made when it is measured, and what was measured is known by its number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from recipelang.budgets.conditions import assuming, excess, falls
from recipelang.budgets.verdict import Verdict
from recipelang.plan import Condition, tests_of
from recipelang.searching.bisection import bisected
from recipelang.surgery.network import Network

Judge = Callable[[Condition, Network, bool], Verdict]
#: how much slower than the budget a network may be for one of fewer steps to be fast enough: widths of 33 may be slower
#: than of 40, and a ranking changes several at once. Torch-Pruning publishes 3 % slower with 11 % fewer MACs.
STAIR = 0.1
#: how many numbers of a range are tried at most, where steps are many, before the range is narrowed
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
        tried: called for every number of steps at which all of `until` was read.
        many: whether steps are many and small: then clocks are searched for stairs, and a guard is checked `LOOKS`
            times and between the last two of them.
    """
    budget = _Budget(until, removed, judge, tried)
    count, met = (most, True) if until is None else _first(budget, most, many)
    return _guarded(budget, guard, count, met, many)


def exactly(
    removed: Callable[[int], Network],
    count: int,
    until: Condition | None,
    guard: Condition | None,
    judge: Judge,
    tried: Callable[[int, Verdict], None] = lambda k, v: None,
    many: bool = False,
) -> SearchResult:
    """Whether this number of steps meets `until`, or as many of them as `guard` allows; arguments as of `smallest`."""
    budget = _Budget(until, removed, judge, tried)
    return _guarded(budget, guard, count, until is None or budget.holds(count), many)


def _guarded(budget: _Budget, guard: Condition | None, count: int, met: bool, many: bool) -> SearchResult:
    """A number of steps, or the largest one below it that a guard allows."""
    until, removed, judge = budget.until, budget.removed, budget.judge
    if guard is None:
        return SearchResult(count, budget.known.get(count), met)
    allowed = _allowed(count, lambda k: judge(guard, removed(k), False).holds, many)
    if allowed < count:
        met = until is None or budget.holds(allowed)
    return SearchResult(allowed, budget.known.get(allowed), met, allowed < count)


@dataclass(frozen=True)
class _Budget:
    """What is known of a budget, by number of steps."""

    until: Condition | None
    removed: Callable[[int], Network]
    judge: Judge
    tried: Callable[[int, Verdict], None]
    known: dict[int, Verdict] = field(default_factory=dict)

    def read(self, k: int) -> Verdict:
        """All of it; each number is measured once."""
        assert self.until is not None
        if k not in self.known:
            self.known[k] = self.judge(self.until, self.removed(k), True)
            self.tried(k, self.known[k])
        return self.known[k]

    def holds(self, k: int) -> bool:
        return self.read(k).holds

    def near(self, k: int) -> bool:
        """Whether it holds, or a clock misses its bound by no more than a stair."""
        assert self.until is not None
        return self.holds(k) or excess(self.until, self.read(k)) <= STAIR

    def computed(self, clocks: bool) -> Callable[[int], bool]:
        """Whether it holds after k steps if all that is measured is taken to hold, or not to."""
        assert self.until is not None
        part = assuming(self.until, clocks)
        if isinstance(part, bool):
            return lambda k: part
        return lambda k: self.judge(part, self.removed(k), True).holds


def _first(budget: _Budget, most: int, many: bool) -> tuple[int, bool]:
    """The smallest number of steps at which the budget holds, and whether there is one; else the end."""
    if all(falls(test) for test in tests_of(budget.until)):
        return (bisected(budget.holds, -1, most), True) if budget.holds(most) else (most, False)
    could, must = budget.computed(True), budget.computed(False)
    if not could(most):
        return most, budget.holds(most)
    low = bisected(could, -1, most) - 1  # at so few steps the computed costs alone do not allow it
    high = bisected(must, low, most) if must(most) else most  # here they alone are enough
    if not many:
        return (bisected(budget.holds, low, high), True) if budget.holds(high) else (high, False)
    if not budget.near(high):
        return high, budget.holds(high)
    below = bisected(budget.near, low, high) - 1
    return _lowest(budget, below, high)


def _lowest(budget: _Budget, below: int, high: int) -> tuple[int, bool]:
    """The first number above `below`, up to `high`, at which the budget holds: all are tried in turn, at most `LOOKS`
    of them evenly spaced, then those between the first that holds and the one before it."""
    while True:
        stride = -(-(high - below) // LOOKS)
        for k in [*range(below + stride, high, stride), high]:
            if budget.holds(k):
                break
            below = k
        else:
            return high, False
        if k == below + 1:
            return k, True
        high = k


def _allowed(count: int, holds: Callable[[int], bool], many: bool) -> int:
    """The largest number of steps up to `count` before which the guard was not seen to fail."""
    stride = -(-count // LOOKS) if many else 1
    passed = 0
    for k in [*range(stride, count, stride), count] if count else []:
        if not holds(k):
            return bisected(lambda j: not holds(j), passed, k) - 1  # it is known at both ends, and asked between them
        passed = k
    return count
