"""What a number means beside a metric, and what follows from it."""

from __future__ import annotations

from typing import Any

import pytest
from checked import step
from hypothesis import given
from hypothesis import strategies as st

from recipelang.check import check
from recipelang.errors import RecipeError
from recipelang.plan import All, Any_, Reading, Test, steps_of
from recipelang.plan import tests_of as single_tests
from recipelang.syntax.parse import parse

OPERATORS = st.sampled_from(["<", "<=", ">", ">="])


def condition(text: str) -> Any:
    return step(text).operation.condition


def codes(text: str) -> list[str]:
    try:
        check(parse(text))
    except RecipeError as error:
        return [d.code for d in error.diagnostics]
    return []


@pytest.mark.parametrize(
    ("text", "form", "bound"),
    [
        ("latency < 0.7", "ratio", 0.7),
        ("latency < 70%", "ratio", 0.7),
        ("latency < 0.7x", "ratio", 0.7),
        ("latency < 1.0", "ratio", 1.0),
        ("latency < 150%", "ratio", 1.5),
        ("latency < 12ms", "value", 0.012),
        ("size < 10MB", "value", 1e7),
        ("params < 5M", "value", 5e6),
        ("flops < 1G", "value", 1e9),
        ("sparsity >= 80%", "value", 0.8),
        ("top1 > 90%", "value", 0.9),
        ("top1 > 0.9", "value", 0.9),
        ("top1 drop < 1%", "drop", 0.01),
        ("loss rise < 0.1", "rise", 0.1),
        ("loss < 0.5", "value", 0.5),
    ],
)
def test_a_bound_is_a_ratio_a_value_or_points(text: str, form: str, bound: float) -> None:
    test = condition(f"expect {text}")
    assert isinstance(test, Test) and test.text == text
    assert (test.reading.form, test.bound) == (form, pytest.approx(bound))


def test_expect_reads_the_test_split_and_until_the_validation_split() -> None:
    steps = list(
        steps_of(check(parse("prune layers by taylor until flops < 0.5 while top1 drop < 1%\nexpect top1 > 9%")).nodes)
    )
    prune, expect = steps[-2].operation, steps[-1].operation
    assert {t.reading.split for t in (*single_tests(prune.until), *single_tests(prune.guard))} == {"val"}
    assert {t.reading.split for t in single_tests(expect.condition)} == {"test"}
    assert condition("expect top1 > 9% on val").reading.split == "val"


def test_subjects_are_states_and_variants_by_their_full_names() -> None:
    until = "prune layers by $c until latency < a.latency"
    text = f"sweep c in taylor {{\n variant a {{ prune 1 layers by $c }}\n variant b {{ {until} }}\n}}"
    prune = step(text).operation
    assert isinstance(prune.until.bound, Reading)
    assert (prune.until.bound.subject.kind, prune.until.bound.subject.name) == ("variant", "c=taylor, a")
    left = condition("expect healthy.top1 > 9%").reading
    assert (left.subject.kind, left.subject.name, left.form) == ("state", "healthy", "value")


def test_times_are_compared_with_those_of_another_network_as_ratios_to_healthy() -> None:
    recipe = "variant a { prune 1 layers by random }\nvariant b { prune 2 layers by random }\n"
    for text, form in {
        "latency < a.latency": "ratio",
        "latency(batch=8) < a.latency(batch=8)": "ratio",
        "latency < a.latency(batch=8)": "value",  # two clocks: nothing is gained
        "params < a.params": "value",
        "top1 > a.top1": "value",
    }.items():
        test = step(f"{recipe}expect {text}").operation.condition
        assert (test.reading.form, test.bound.form) == (form, form), text


def test_and_or_and_commas_nest() -> None:
    whole = condition("expect (flops < 0.5 or params < 0.5) and top1 > 9%, size < 10MB")
    assert isinstance(whole, All) and isinstance(whole.tests[0], All) and isinstance(whole.tests[0].tests[0], Any_)


def holds(operator: str, bound: float, value: float) -> bool:
    return {"<": value < bound, "<=": value <= bound, ">": value > bound, ">=": value >= bound}[operator]


@given(st.lists(st.tuples(OPERATORS, st.integers(1, 9)), min_size=2, max_size=3))
def test_two_tests_contradict_exactly_where_no_value_meets_both(tests: list[tuple[str, int]]) -> None:
    text = " and ".join(f"top1 {operator} {10 * bound}%" for operator, bound in tests)
    grid = [i / 20 for i in range(21)]  # every bound, and a point between any two of them
    pairs = [(a, b) for i, b in enumerate(tests) for a in tests[:i]]
    possible = all(any(holds(a[0], a[1] / 10, v) and holds(b[0], b[1] / 10, v) for v in grid) for a, b in pairs)
    assert (codes(f"expect {text}") == []) is possible


@pytest.mark.parametrize("metric", ["latency", "flops", "size", "params"])
@pytest.mark.parametrize("operator", ["<", "<=", ">", ">="])
def test_removal_brings_costs_down_to_a_budget_and_a_guard_keeps_them_up(metric: str, operator: str) -> None:
    below = operator in ("<", "<=")
    assert codes(f"prune layers by taylor until {metric} {operator} 50%") == ([] if below else ["RCP0608"])
    assert codes(f"prune layers by taylor while {metric} {operator} 50%") == (["RCP0608"] if below else [])


@pytest.mark.parametrize(("metric", "good"), [("top1", ">"), ("top1 drop", "<"), ("loss", "<"), ("loss rise", "<")])
@pytest.mark.parametrize("operator", ["<", ">"])
def test_removal_harms_quality_which_is_for_guards_alone(metric: str, good: str, operator: str) -> None:
    bound = "0.5" if "loss" in metric else "50%"
    fine = operator == good
    assert codes(f"prune layers by taylor until {metric} {operator} {bound}") == ["RCP0608" if fine else "RCP0607"]
    assert codes(f"prune layers by taylor while {metric} {operator} {bound}") == ([] if fine else ["RCP0608"])
