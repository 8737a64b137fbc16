"""How many steps must be taken: the smallest number whose removal meets a budget, within a guard.

Step k removes the k-th least important layer, or the k-th few filters; `removed(k)` is the network after k of them.

    computed costs  fall as steps are taken: they bound the numbers that come into question, without a clock
    a clock, few    bisection: at most log2(n) + 2 measurements
    a clock, many   falls in stairs that may rise again. Bisection finds where the network is too slow by more than a
                    stair can be wrong; above it, numbers are tried from the smallest one on until the budget holds
    a guard         may fail anywhere, so every step is checked where they are few, every few steps where they are many

Where clocks can be looked at briefly, a number that is clearly too slow is not measured surely: a brief look decides
that it is not the one, and only a sure measurement that it is. So is what is said to be the furthest that there is.

No network is kept: each is made when it is measured, and what was measured is known by its number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from recipelang.budgets.conditions import assuming, clock, excess, falls
from recipelang.budgets.verdict import Verdict
from recipelang.plan import Condition, tests_of
from recipelang.searching.bisection import bisected
from recipelang.surgery.network import Network

Judge = Callable[[Condition, Network, bool], Verdict]
Look = Callable[[Condition, Network], Verdict]
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
    look: Look | None = None,
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
        look: whether a condition may hold for a network, from brief readings of its clocks; None where there are none.
    """
    budget = _Budget(until, removed, judge, tried, look if until and any(map(clock, tests_of(until))) else None)
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
    return _guarded(budget, guard, count, until is None or budget.surely(count), many)


def _guarded(budget: _Budget, guard: Condition | None, count: int, met: bool, many: bool) -> SearchResult:
    """A number of steps, or the largest one below it that a guard allows."""
    until, removed, judge = budget.until, budget.removed, budget.judge
    if guard is None:
        return SearchResult(count, budget.known.get(count), met)
    allowed = _allowed(count, lambda k: judge(guard, removed(k), False).holds, many)
    if allowed < count:
        met = until is None or budget.surely(allowed)
    return SearchResult(allowed, budget.known.get(allowed), met, allowed < count)


@dataclass(frozen=True)
class _Budget:
    """What is known of a budget, by number of steps."""

    until: Condition | None
    removed: Callable[[int], Network]
    judge: Judge
    tried: Callable[[int, Verdict], None]
    look: Look | None = None
    known: dict[int, Verdict] = field(default_factory=dict)
    looked: dict[int, Verdict] = field(default_factory=dict)

    def read(self, k: int) -> Verdict:
        """All of it; each number is measured once."""
        assert self.until is not None
        if k not in self.known:
            self.known[k] = self.judge(self.until, self.removed(k), True)
            self.tried(k, self.known[k])
        return self.known[k]

    def surely(self, k: int) -> bool:
        """Whether it holds, whatever a look says."""
        return self.read(k).holds

    def holds(self, k: int) -> bool:
        """Whether it holds; measured surely only where a look does not rule it out."""
        seen = self.seen(k)
        return (seen is None or seen.holds) and self.surely(k)

    def near(self, k: int) -> bool:
        """Whether it holds, or a clock misses its bound by no more than a stair; a look is enough to say so."""
        assert self.until is not None
        if (seen := self.seen(k)) is not None:
            return seen.holds or excess(self.until, seen, best=True) <= STAIR
        return self.surely(k) or excess(self.until, self.read(k)) <= STAIR

    def seen(self, k: int) -> Verdict | None:
        """Whether it may hold, from brief readings; None where only sure ones tell, or one is known."""
        if self.look is None or k in self.known:
            return None
        if k not in self.looked:
            assert self.until is not None
            self.looked[k] = self.look(self.until, self.removed(k))
        return self.looked[k]

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
        return (bisected(budget.holds, -1, most), True) if budget.surely(most) else (most, False)
    could, must = budget.computed(True), budget.computed(False)
    if not could(most):
        return most, budget.surely(most)
    low = bisected(could, -1, most) - 1  # at so few steps the computed costs alone do not allow it
    high = bisected(must, low, most) if must(most) else most  # here they alone are enough
    if not many:
        return (bisected(budget.holds, low, high), True) if budget.surely(high) else (high, False)
    if not budget.near(high):
        return high, budget.surely(high)
    below = bisected(budget.near, low, high) - 1
    return _lowest(budget, below, high)


def _lowest(budget: _Budget, below: int, high: int) -> tuple[int, bool]:
    """The first number above `below`, up to `high`, at which the budget holds: all are tried in turn, at most `LOOKS`
    of them evenly spaced, then those between the first that holds and the one before it."""
    while True:
        stride = -(-(high - below) // LOOKS)
        for k in [*range(below + stride, high, stride), high]:
            if budget.surely(k) if k == high else budget.holds(k):
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
