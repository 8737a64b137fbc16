"""Conditions of a budget as text of the recipe: every clock as the network will be called."""

from __future__ import annotations

import dataclasses
from typing import Any

from recipelang.catalogue import find, spell
from recipelang.drafting.facts import Facts
from recipelang.plan import All, Any_, Condition, Test, tests_of


def placed(metric: Any, facts: Facts) -> Any:
    """A metric as the network will be called; one that the user gave settings stays as it is."""
    wish = facts.wish
    if not hasattr(metric, "batch") or metric != type(metric)():
        return metric
    asked: dict[str, Any] = {"batch": wish.batch, "threads": wish.threads, "device": wish.device}
    asked["runtime"] = find("runtime", wish.runtime)()  # type: ignore[misc]
    if facts.machine.sparse:
        asked["precision"] = "float16"
    there = {field.name for field in dataclasses.fields(metric)}
    return dataclasses.replace(metric, **{name: value for name, value in asked.items() if name in there})


def clocks_of(facts: Facts, budget: Condition) -> dict[str, str]:
    """The metrics of the budget, and latency, that need settings: as they are spelt → the name of a `let`."""
    latency: Any = find("metric", "latency")
    tests = list(tests_of(budget))
    metrics = [placed(test.reading.metric, facts) for test in tests]
    if not any(metric.name == "latency" for metric in metrics):
        metrics.append(placed(latency(), facts))
    called = dict.fromkeys(spell(metric) for metric in metrics if "(" in spell(metric))
    return {metric: "here" if number == 0 else f"here{number + 1}" for number, metric in enumerate(called)}


def spelt(condition: Condition, facts: Facts, clocks: dict[str, str]) -> str:
    """A condition as text, its metrics as they will be called."""
    if isinstance(condition, All | Any_):
        word = " and " if isinstance(condition, All) else " or "
        parts = [spelt(inner, facts, clocks) for inner in condition.tests]
        inner = [f"({p})" if isinstance(t, Any_) else p for p, t in zip(parts, condition.tests, strict=True)]
        return word.join(inner)
    metric = spell(placed(condition.reading.metric, facts))
    name = f"${clocks[metric]}" if metric in clocks else metric
    return f"{name} {condition.operator} {_bound(condition)}"


def _bound(test: Test) -> str:
    """The bound as it was written, or a ratio that was computed."""
    written = test.text.rpartition(test.operator)[2].strip()
    if test.reading.form == "ratio" and isinstance(test.bound, int | float):
        return f"{test.bound:g}"
    return written
