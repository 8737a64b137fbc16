"""Checking conditions against measured values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from recipelang.budgets.verdict import Verdict
from recipelang.catalogue import spell
from recipelang.plan import All, Condition, Reading, Test
from recipelang.units import show


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
    word = " and " if isinstance(condition, All) else " or "
    return Verdict(
        combine(v.holds for v in verdicts),
        word.join(v.text for v in verdicts),
        None,
        any(v.marginal for v in verdicts),
    )


def _judge_test(test: Test, read: Callable[[Reading], Value], how: str) -> Verdict:
    left = read(test.reading)
    bound = read(test.bound).value if isinstance(test.bound, Reading) else test.bound
    compare = _COMPARE[test.operator]
    ends = [compare(left.low, bound), compare(left.high, bound)]
    holds = {"surely": all(ends), "likely": compare(left.value, bound), "possibly": any(ends)}[how]
    if test.operator == "==" and left.low < bound < left.high:
        holds = how != "surely"
    return Verdict(holds, f"{name_of(test.reading)} {shown(test.reading, left)}", left.value, ends[0] != ends[1])


def name_of(reading: Reading) -> str:
    """`latency(batch=8)`, `top1 drop`, `layers.latency`."""
    owner = f"{reading.subject.name}." if reading.subject.kind != "current" else ""
    tail = f" {reading.form}" if reading.form in ("drop", "rise") else ""
    against = "(from=control)" if tail and reading.against == "control" else ""
    return f"{owner}{spell(reading.metric)}{tail}{against}"


def shown(reading: Reading, value: Value) -> str:
    """A value as text, with its interval where it has one."""
    if reading.form == "ratio":
        unit = "x"
    elif reading.form in ("drop", "rise") and reading.metric.unit == "%":
        return f"{100 * value.value:.2f} points".replace("-", "−")
    else:
        unit = reading.metric.unit
    text = show(value.value, unit)
    return text if value.low == value.high else f"{text} ({show(value.low, unit)} to {show(value.high, unit)})"


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
