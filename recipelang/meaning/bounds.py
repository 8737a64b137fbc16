"""Bounds: what a number means beside a metric, and which bounds can never or always hold."""

from __future__ import annotations

import dataclasses
import math

from recipelang.meaning.diagnostics import Refuse
from recipelang.meaning.values import DIMENSIONS
from recipelang.plan import All, Condition, Reading, Test, tests_of
from recipelang.syntax import nodes
from recipelang.syntax.show import show
from recipelang.units import Quantity

#: unit of a metric → (dimension of its bounds, an example)
FITTING = {
    "s": ("time", "12ms"),
    "B": ("bytes", "10MB"),
    "FLOPs": ("count", "5M"),
    "params": ("count", "5M"),
    "%": ("ratio", "90%"),
    "dB": ("level", "30dB"),
    "J": ("energy", "2mJ"),
    "images/s": ("rate", "500/s"),
    "x": ("ratio", "2x"),
    "": ("number", "0.5"),
}
FLIPPED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "=="}


def bound_of(refuse: Refuse, node: nodes.Compare, reading: Reading, number: nodes.Number) -> Test | None:
    """The test of a reading against a number; None where the number does not fit (RCP0602, 0604 … 0606, 0610, 0612)."""
    quantity = number.quantity
    name = show(node.left)
    if not math.isfinite(quantity.value):
        refuse("RCP0303", f"`{number.text}` is too large a number", number.span, "write a number below 1e308")
        return None
    if node.operator == "==" and reading.metric.source == "clock":
        refuse(
            "RCP0612",
            f"a measured {name} is never exactly {number.text}",
            node.operator_span,
            f"write `{name} < {number.text}`",
        )
        return None
    reader = {"cost": _cost, "quality": _quality}.get(reading.metric.role, _property)
    form = reader(refuse, node, reading, number)
    if form is None:
        return None
    test = Test(dataclasses.replace(reading, form=form), node.operator, quantity.value, show(node), node.span)
    return test if _possible(refuse, test, number) else None


def _cost(refuse: Refuse, node: nodes.Compare, reading: Reading, number: nodes.Number) -> str | None:
    quantity, metric = number.quantity, reading.metric
    if reading.form in ("drop", "rise"):
        refuse(
            "RCP0602",
            f"{metric.name} is a cost, and costs are not given as a {reading.form}",
            node.left.span,
            _cost_help(node, number, metric.better),
        )
        return None
    if quantity.dimension == "number" and quantity.value > (MOST_TIMES if metric.better == "higher" else 1):
        many = f"{quantity.value:g} times the {WHOLE.get(metric.name, metric.name)}"
        unit = FITTING.get(metric.unit, ("", ""))[1].lstrip("0123456789.")
        kind = DIMENSIONS[FITTING.get(metric.unit, ("number", ""))[0]]
        share = f"`{number.text}%` for a share of healthy, " if quantity.value <= 100 else ""
        meant = f"{number.text}{unit}"
        if unit in ("M", "MB") and quantity.value >= 1e3:  # a whole number of parameters or bytes, not of millions
            prefix, factor = ("M", 1e6) if quantity.value >= 1e6 else ("K", 1e3)
            meant = f"{quantity.value / factor:g}{prefix}{unit[1:]}"
        ratio = f", {share}or `{100 * quantity.value:.12g}%` for {many}" if quantity.value < 1e3 else ""
        help = f"write `{meant}` for {kind}{ratio}"
        refuse("RCP0605", f"{number.text} without a unit is a ratio to healthy: {many}", number.span, help)
        return None
    if quantity.dimension in ("number", "ratio"):
        return "ratio"
    ratio = "1.5" if metric.better == "higher" else "0.7"
    return "value" if _fits(refuse, name=metric.name, unit=metric.unit, number=number, ratio=ratio) else None


#: a number without a unit that is still read as a ratio to healthy where more is better: `throughput > 1.5`
MOST_TIMES = 10
#: cost → what all of it is called
WHOLE = {"params": "parameters", "flops": "FLOPs"}


def _cost_help(node: nodes.Compare, number: nodes.Number, better: str) -> str:
    """`latency drop > 30%` was meant as `latency < 70%`."""
    metric = show(node.left.items[0]) if isinstance(node.left, nodes.Words) else show(node.left)
    value = number.quantity.value
    if better == "higher":
        return f"compare it directly, as in `{metric} > 150%`"
    if number.quantity.dimension in ("ratio", "number") and 0 < value < 1:
        return f"write `{metric} {FLIPPED[node.operator]} {Quantity(round(100 * (1 - value), 10), '%')}`"
    return f"compare it directly, as in `{metric} < 70%`"


def _quality(refuse: Refuse, node: nodes.Compare, reading: Reading, number: nodes.Number) -> str | None:
    quantity, metric = number.quantity, reading.metric
    if reading.form in ("drop", "rise") and metric.unit == "%" and quantity.dimension == "number":
        _points(refuse, reading, number)
        return None
    return _property(refuse, node, reading, number)


def _points(refuse: Refuse, reading: Reading, number: nodes.Number) -> None:
    """A change of a share without its `%`: a small number may be a share or a number of points."""
    value = number.quantity.value
    message = f"a {reading.form} of {reading.metric.name} is counted in points and needs its `%`"
    help = f"write `{number.text}%`"
    if value < 1:
        message += f"; `{number.text}` can be read in two ways"
        share, points = _in_points(100 * value), _in_points(value)
        help = f"write `{100 * value:.12g}%` for {share} ({number.text} of all), or `{number.text}%` for {points}"
    refuse("RCP0604", message, number.span, help)


def _in_points(value: float) -> str:
    """`1 point`, `0.01 points`."""
    return f"{value:.12g} point{'s' * (round(value, 12) != 1)}"


def _property(refuse: Refuse, node: nodes.Compare, reading: Reading, number: nodes.Number) -> str | None:
    quantity, metric = number.quantity, reading.metric
    share = metric.unit == "%" and quantity.dimension == "number"
    if share and quantity.value > 1:
        refuse(
            "RCP0604",
            f"{metric.name} is a fraction of 1, and {number.text} is more",
            number.span,
            f"write `{number.text}%`",
        )
        return None
    if share:
        return reading.form
    return reading.form if _fits(refuse, name=metric.name, unit=metric.unit, number=number) else None


def _fits(refuse: Refuse, *, name: str, unit: str, number: nodes.Number, ratio: str = "") -> bool:
    """Whether the number's unit is one of the metric's; `ratio` is an example of a ratio to healthy."""
    dimension, example = FITTING.get(unit, ("number", "0.5"))
    if dimension == "level" and number.quantity.unit == "":
        example = f"{number.text}{unit}"
    if number.quantity.dimension == dimension:
        return True
    wanted = DIMENSIONS[dimension]
    help = f"write `{example}`" + (f", or `{ratio}` for a ratio to healthy" if ratio else "")
    refuse(
        "RCP0606", f"{name} is {wanted}; `{number.text}` is {DIMENSIONS[number.quantity.dimension]}", number.span, help
    )
    return False


def _possible(refuse: Refuse, test: Test, number: nodes.Number) -> bool:
    """Whether any network could meet the bound: costs are above 0, shares between 0 and 1."""
    r, bound = test.reading, test.bound
    assert isinstance(bound, float | int)
    changes = r.form in ("drop", "rise")
    share = r.metric.unit == "%"
    low = 0.0 if r.metric.role == "cost" or (share and not changes) else -math.inf
    high = 1.0 if share else math.inf
    positive = r.metric.role == "cost"
    never = {
        "<": bound <= low,
        "<=": bound < low or (positive and bound == 0),
        ">": bound >= high,
        ">=": bound > high,
        "==": not low <= bound <= high,
    }[test.operator]
    if never:
        refuse(
            "RCP0610",
            f"no network can meet `{test.text}`",
            number.span,
            "costs are above 0; shares are between 0% and 100%",
        )
    return not never


def opposed(until: Condition | None, guard: Condition | None, refuse: Refuse) -> None:
    """Note an `until` and a `while` that cannot both hold (RCP0609), as they must at the end."""
    if until is not None and guard is not None:
        contradictions(All((until, guard)), refuse)


def contradictions(condition: Condition, refuse: Refuse) -> None:
    """Note the tests of an `and` that cannot all hold (RCP0609): `latency < 0.5 and latency > 0.7`."""
    if isinstance(condition, Test):
        return
    if not isinstance(condition, All):
        for inner in condition.tests:
            contradictions(inner, refuse)
        return
    tightest: dict[Reading, tuple[Test, Test]] = {}  # of the tests so far: with the highest low end, the lowest high
    for later in (t for t in _joined(condition) if not isinstance(t.bound, Reading)):
        lowest, highest = tightest.get(later.reading, (later, later))
        for earlier in (lowest, highest):
            if not _together(earlier, later):
                message = f"`{later.text}` contradicts `{earlier.text}`"
                refuse("RCP0609", message, later.span, "no network meets both; keep one")
                return
        tightest[later.reading] = (
            max(lowest, later, key=lambda t: (_interval(t)[0], not _interval(t)[2])),
            min(highest, later, key=lambda t: (_interval(t)[1], _interval(t)[3])),
        )


def _joined(condition: Condition) -> list[Test]:
    """The tests that must hold at once: those of nested `and`, not of `or`."""
    if isinstance(condition, Test):
        return [condition]
    return [t for inner in condition.tests for t in _joined(inner)] if isinstance(condition, All) else []


def _interval(test: Test) -> tuple[float, float, bool, bool]:
    """(low, high, whether low itself is included, whether high is)."""
    bound = test.bound
    if not isinstance(bound, float | int):
        return -math.inf, math.inf, True, True
    return {
        "<": (-math.inf, bound, False, False),
        "<=": (-math.inf, bound, False, True),
        ">": (bound, math.inf, False, False),
        ">=": (bound, math.inf, True, False),
        "==": (bound, bound, True, True),
    }[test.operator]


def _together(one: Test, other: Test) -> bool:
    """Whether some value meets both."""
    (low_a, high_a, low_in_a, high_in_a), (low_b, high_b, low_in_b, high_in_b) = _interval(one), _interval(other)
    low, high = max(low_a, low_b), min(high_a, high_b)
    if low != high:
        return low < high
    low_in = (low_in_a or low_a < low) and (low_in_b or low_b < low)
    high_in = (high_in_a or high_a > high) and (high_in_b or high_b > high)
    return low_in and high_in


def shrinking(condition: Condition | None, word: str, refuse: Refuse) -> None:
    """Refuse budgets and guards that removal cannot bring about or break (RCP0607, RCP0608).

    Removal lowers costs, raises those of which more is better, and harms qualities, so an `until` must name a cost on
    its way, and a `while` what may not be lost.

    Args:
        condition: of the clause.
        word: `until` or `while`.
        refuse: notes the mistake.
    """
    for test in tests_of(condition):
        role, text = test.reading.metric.role, test.text
        if role not in ("cost", "quality") or test.operator == "==":
            continue
        below = test.operator in ("<", "<=")
        more = test.reading.metric.better == "higher"
        grows = more if role == "cost" else test.reading.form in ("drop", "rise") or not more
        comes_true = below != grows  # removal makes the left side smaller, or larger where harm is what is read
        turned = text.replace(f" {test.operator} ", f" {FLIPPED[test.operator]} ", 1)
        if word == "until" and role == "quality" and comes_true:
            refuse(
                "RCP0607",
                f"`until` would keep the first model that breaks this: `{text}`",
                test.span,
                f"write `while {turned}`",
            )
        elif word == "until" and not comes_true:
            help = f"write `while {text}`" if role == "quality" else f"write `until {turned}`"
            refuse("RCP0608", f"`{text}` holds before anything is removed", test.span, help)
        elif word == "while" and comes_true:
            help = f"write `until {text}`" if role == "cost" else f"write `while {turned}`"
            refuse("RCP0608", f"removal can only bring about `{text}`, never break it", test.span, help)


def breaking(condition: Condition | None, refuse: Refuse) -> None:
    """Refuse an `until` that waits for harm (RCP0607): `repeat until top1 drop > 2%` ends with the harm done."""
    for test in tests_of(condition):
        if (
            test.reading.form in ("drop", "rise")
            and test.reading.metric.role == "quality"
            and test.operator in (">", ">=")
        ):
            turned = test.text.replace(f" {test.operator} ", f" {FLIPPED[test.operator]} ", 1)
            refuse(
                "RCP0607",
                f"`until` would keep the first model that breaks this: `{test.text}`",
                test.span,
                f"write `while {turned}`",
            )
