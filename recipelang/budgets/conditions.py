"""Checking conditions against measured values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import islice, product

from recipelang.budgets.verdict import Verdict
from recipelang.catalogue import spell
from recipelang.kinds.figure import Figure
from recipelang.plan import All, Any_, Condition, Reading, Test, tests_of


@dataclass(frozen=True)
class Value:
    """A reading's value with its interval of measurement; computed numbers have low = value = high.

    Attributes:
        note: what the measurement says beside the number.
    """

    value: float
    low: float
    high: float
    note: str = ""

    @classmethod
    def exactly(cls, value: float) -> Value:
        """A computed number."""
        return cls(value, value, value)

    @classmethod
    def between(cls, ends: tuple[float, float, float]) -> Value:
        """A measured number and its interval: value, low, high."""
        return cls(*ends)


_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "==": lambda a, b: abs(a - b) <= 1e-9 * max(1.0, abs(b)),
}


def judge(condition: Condition, read: Callable[[Reading], Value], how: str) -> Verdict:
    """Whether a condition holds.

    Args:
        condition: from the plan.
        read: returns the value of a reading.
        how: `surely`: the whole interval must meet the bound (`until`); `likely`: the point estimate (`while`);
            `possibly`: fails only when the whole interval misses (`expect`).
    """
    if isinstance(condition, Test):
        return _judge_test(condition, read, how)
    verdicts = [judge(inner, read, how) for inner in condition.tests]
    combine = all if isinstance(condition, All) else any
    figures = _joined(condition, [verdict.figures for verdict in verdicts])
    notes = tuple(note for verdict in verdicts for note in verdict.notes)
    return Verdict(combine(v.holds for v in verdicts), figures, any(v.marginal for v in verdicts), notes)


def bounds(condition: Condition, joins: str = "") -> tuple[Figure, ...]:
    """What a condition asks for, before anything is read; `joins` it to what comes before."""
    if isinstance(condition, Test):
        bound = None if isinstance(condition.bound, Reading) else condition.bound
        return (replace(_figure(condition, bound), joins=joins),)
    first, *others = _joined(condition, [bounds(inner) for inner in condition.tests])
    return (replace(first, joins=joins), *others)


def _joined(condition: All | Any_, parts: list[tuple[Figure, ...]]) -> tuple[Figure, ...]:
    """The figures of several tests, each joined to the one before."""
    word = "and" if isinstance(condition, All) else "or"
    first, *others = parts
    return (*first, *(f for part in others for f in (replace(part[0], joins=word), *part[1:])))


def _judge_test(test: Test, read: Callable[[Reading], Value], how: str) -> Verdict:
    left = read(test.reading)
    bound = read(test.bound).value if isinstance(test.bound, Reading) else test.bound
    compare = _COMPARE[test.operator]
    ends = [compare(left.low, bound), compare(left.high, bound)]
    holds = {"surely": all(ends), "likely": compare(left.value, bound), "possibly": any(ends)}[how]
    if test.operator == "==" and left.low < bound < left.high:
        holds = how != "surely"
    low, high = (left.low, left.high) if left.low < left.high else (None, None)
    figure = replace(_figure(test, bound), value=left.value, low=low, high=high)
    return Verdict(holds, (figure,), ends[0] != ends[1], (left.note,) if left.note and not holds else ())


def _figure(test: Test, bound: float | None) -> Figure:
    """A test without its value."""
    reading = test.reading
    difference = reading.form in ("drop", "rise") and reading.metric.unit == "%"
    unit = "x" if reading.form == "ratio" else "points" if difference else reading.metric.unit
    against = name_of(test.bound) if isinstance(test.bound, Reading) else ""
    return Figure(name_of(reading), unit=unit, operator=test.operator, bound=bound, against=against)


def name_of(reading: Reading) -> str:
    """`latency(batch=8)`, `top1 drop`, `layers.latency`."""
    owner = f"{reading.subject.name}." if reading.subject.kind != "current" else ""
    tail = f" {reading.form}" if reading.form in ("drop", "rise") else ""
    against = "(from=control)" if tail and reading.against == "control" else ""
    return f"{owner}{spell(reading.metric)}{tail}{against}"


def column_of(reading: Reading) -> str:
    """The heading of a reading's column: the metric, and the data if it is not the test split of the recipe's first."""
    places = [reading.data] if reading.data else []
    places += [reading.split] if reading.split != "test" and reading.metric.source == "predictions" else []
    return f"{spell(reading.metric)}{' on ' + ' '.join(places) if places else ''}"


def relaxed(condition: Condition, start: Callable[[Reading], float], share: float) -> Condition:
    """The condition for a part of the way: bounds between the starting values and the final bounds.

    Args:
        condition: the budget of the whole statement.
        start: a reading's value at the start of the statement.
        share: the part of the way, 0…1.
    """
    if share == 1:
        return condition
    if not isinstance(condition, Test):
        return replace(condition, tests=tuple(relaxed(inner, start, share) for inner in condition.tests))
    if isinstance(condition.bound, Reading):
        return condition
    begin = start(condition.reading)
    return replace(condition, bound=begin + (condition.bound - begin) * share)


#: a budget of more alternatives than this is treated as if all of its tests had to hold
MOST_ALTERNATIVES = 16


def alternatives(condition: Condition) -> tuple[tuple[Test, ...], ...]:
    """The sets of tests each of which makes a condition hold: `a and (b or c)` is (a, b) and (a, c)."""
    found = _alternatives(condition)
    return found if len(found) <= MOST_ALTERNATIVES else (tuple(tests_of(condition)),)


def _alternatives(condition: Condition) -> tuple[tuple[Test, ...], ...]:
    if isinstance(condition, Test):
        return ((condition,),)
    inner = [alternatives(part) for part in condition.tests]
    if isinstance(condition, Any_):
        return tuple(one for part in inner for one in part)
    sets = product(*inner)
    return tuple(tuple(test for part in one for test in part) for one in islice(sets, MOST_ALTERNATIVES + 1))


def falls(test: Test) -> bool:
    """Whether removal can only bring the test about: a computed cost is to be small, and becomes no larger."""
    metric = test.reading.metric
    return metric.role == "cost" and metric.source == "structure" and test.operator in ("<", "<=")


def assuming(condition: Condition, holds: bool) -> Condition | bool:
    """What is left of a condition if every test that does not simply fall holds, or if none does."""
    if isinstance(condition, Test):
        return condition if falls(condition) else holds
    decides = isinstance(condition, Any_)  # one that holds decides `or`, one that does not decides `and`
    parts = [assuming(inner, holds) for inner in condition.tests]
    if decides in [part for part in parts if isinstance(part, bool)]:
        return decides
    open = tuple(part for part in parts if not isinstance(part, bool))
    return replace(condition, tests=open) if open else not decides


def clock(test: Test) -> bool:
    """Whether a test reads a clock of the network in question."""
    return test.reading.metric.source == "clock" and test.reading.subject.kind == "current"


def excess(condition: Condition, verdict: Verdict, best: bool = False) -> float:
    """By what part of its bound a condition is missed at worst: 0 where it holds, infinite where a computed cost is in
    the way, which no stair of a clock explains.

    Args:
        condition: that was judged.
        verdict: with a figure for each of its tests, in order.
        best: at the end of each interval that is nearest to the bound, instead of the far end.
    """
    return _excess(condition, dict(zip(map(id, tests_of(condition)), verdict.figures, strict=True)), best)


def missed(condition: Condition, verdict: Verdict) -> tuple[str, ...]:
    """The texts of the tests that do not hold, where a condition has several and does not hold.

    Args:
        condition: that was judged surely.
        verdict: with a figure for each of its tests, in order.
    """
    tests = tuple(tests_of(condition))
    if verdict.holds or len(tests) == 1:
        return ()
    figures = zip(tests, verdict.figures, strict=True)
    return tuple(test.text for test, figure in figures if _excess(test, {id(test): figure}) > 0)


def _excess(condition: Condition, figures: Mapping[int, Figure], best: bool = False) -> float:
    if not isinstance(condition, Test):
        combine = max if isinstance(condition, All) else min
        return combine(_excess(inner, figures, best) for inner in condition.tests)
    figure = figures[id(condition)]
    assert figure.value is not None and figure.bound is not None
    below = condition.operator in ("<", "<=")
    end = (figure.high if below != best else figure.low) or figure.value  # by default the far end, as `until` reads it
    if _COMPARE[condition.operator](end, figure.bound):
        return 0.0
    small, large = (figure.bound, end) if below else (end, figure.bound)
    return large / small - 1 if small > 0 and not falls(condition) else float("inf")
