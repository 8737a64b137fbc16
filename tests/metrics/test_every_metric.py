"""Every metric in every place of a recipe that takes one, as far as `check` tells."""

from __future__ import annotations

from typing import Any

import pytest

from recipelang import catalogue
from recipelang.check import check
from recipelang.errors import RecipeError
from recipelang.meaning.bounds import FITTING, FLIPPED
from recipelang.syntax.parse import parse

NAMES = catalogue.names("metric")


def metric(name: str) -> Any:
    return catalogue.find("metric", name)


def head(name: str) -> str:
    tasks = getattr(metric(name), "tasks", ())
    return f"task {tasks[0]}\n" if tasks and "classification" not in tasks else ""


def codes(text: str) -> list[str]:
    try:
        check(parse(text))
    except RecipeError as error:
        return [diagnostic.code for diagnostic in error.diagnostics]
    return []


@pytest.mark.parametrize("name", NAMES)
def test_it_is_measured_expected_and_compared(name: str) -> None:
    unit = metric(name).unit
    bound = FITTING[unit][1] if unit in FITTING else "0.5"
    assert codes(f"{head(name)}measure {name}") == []
    assert codes(f"{head(name)}expect {name} > {bound}") == []
    assert codes(f"{head(name)}variant a {{ prune 1 layers by random }}\nexpect {name} <= a.{name}") == []


@pytest.mark.parametrize("name", [name for name in NAMES if metric(name).role == "cost"])
def test_a_cost_is_a_budget_in_its_own_direction_and_a_guard_in_the_other(name: str) -> None:
    more = metric(name).better == "higher"
    toward, ratio = (">", "1.5") if more else ("<", "0.7")
    bound = FITTING[metric(name).unit][1]
    for number in (ratio, bound, f"{150 if more else 70}%"):
        for verb in ("prune layers by magnitude", "prune filters by magnitude"):
            assert codes(f"{verb} until {name} {toward} {number}") == [], number
            assert codes(f"{verb} until {name} {FLIPPED[toward]} {number}") == ["RCP0608"], number
            assert codes(f"{verb} while {name} {toward} {number}") == ["RCP0608"], number
            assert codes(f"{verb} while {name} {FLIPPED[toward]} {number}") == [], number
    assert codes(f"prune layers by magnitude until {name} {toward} {ratio} and top1 > 10%") != ["RCP0606"]
    assert codes(f"expect {name} drop < 3%") == codes(f"expect {name} rise < 3%") == ["RCP0602"]
    other = "12ms" if metric(name).unit != "s" else "10MB"
    assert codes(f"expect {name} {toward} {other}") == ["RCP0606"]


def test_a_large_number_without_a_unit_is_ambiguous() -> None:
    assert (
        codes("expect throughput > 10") == codes("expect throughput > 1000%") == codes("expect throughput > 12x") == []
    )
    assert codes("expect throughput > 500") == ["RCP0605"] == codes("expect latency < 2")
