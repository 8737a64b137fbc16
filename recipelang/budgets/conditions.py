"""Checking conditions against measured values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from recipelang.budgets.verdict import Verdict
from recipelang.catalogue import spell
from recipelang.kinds.figure import Figure
from recipelang.plan import All, Any_, Condition, Reading, Test


@dataclass(frozen=True)
class Value:
    """A reading's value with its interval of measurement; computed numbers have low = value = high."""

    value: float
    low: float
    high: float


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
    return Verdict(combine(v.holds for v in verdicts), figures, any(v.marginal for v in verdicts))


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
    return Verdict(holds, (figure,), ends[0] != ends[1])


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


def relaxed(condition: Condition, start: Callable[[Reading], float], share: float) -> Condition:
    """The condition for a part of the way: bounds between the starting values and the final bounds.

    Args:
        condition: the budget of the whole statement.
        start: a reading's value at the start of the statement.
        share: the part of the way, 0…1.
    """
    if not isinstance(condition, Test):
        return replace(condition, tests=tuple(relaxed(inner, start, share) for inner in condition.tests))
    if isinstance(condition.bound, Reading):
        return condition
    begin = start(condition.reading)
    return replace(condition, bound=begin + (condition.bound - begin) * share)
