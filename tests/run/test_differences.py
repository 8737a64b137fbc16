"""Why a step runs again, in the words of the recipe."""

from __future__ import annotations

from typing import Any

import pytest

from recipelang.check import check
from recipelang.methods.companions.slimming import Slimming
from recipelang.plan import Duration, canonical, steps_of
from recipelang.run.keys import difference
from recipelang.syntax.parse import parse


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (Duration(4), Duration(3), "the duration was 4 epochs, is 3 epochs"),
        (Duration(4), Duration(4, "steps"), "the duration was 4 epochs, is 4 steps"),
        (0.1, 0.01, "`setting` was 0.1, is 0.01"),
        (None, 0.01, "`setting` was left out, is 0.01"),
        (None, Duration(3), "`setting` was left out, is 3 epochs"),
        ((), (Slimming(1e-3),), "`setting` was none, is slimming(strength=0.001)"),
        ("x", "y" * 61, f"`setting` was x, is {'y' * 59}…"),
    ],
)
def test_a_changed_setting_is_named_with_both_values(old: object, new: object, reason: str) -> None:
    before, after = ({"operation": {"is": "Finetune", "setting": canonical(value)}} for value in (old, new))
    assert difference(after, before) == reason


def test_losses_are_named_as_the_sum_that_a_recipe_writes() -> None:
    old, new = (
        {"operation": canonical(operation_of(f"distill from healthy for 1 epoch with {losses}"))}
        for losses in ("fitnet + 0.5 * task", "kd(T=2)")
    )
    assert difference(new, old) == "the loss was fitnet + 0.5 * task, is kd(T=2, alpha=0.9)"


def operation_of(text: str) -> Any:
    (step,) = (step for step in steps_of(check(parse(text)).nodes) if step.operation.verb == "distill")
    return step.operation


def test_every_reason_is_named() -> None:
    old = {"operation": {"is": "Train", "lr": 0.1, "batch": 32, "name": "a"}, "parent": "a", "threads": 1, "seed": 0}
    new = {"operation": {"is": "Train", "lr": 0.01, "batch": 64, "name": "a"}, "parent": "b", "threads": 2, "seed": 0}
    assert difference(new, old) == (
        "`lr` was 0.1, is 0.01; `batch` was 32, is 64; a step above changed; a different number of threads"
    )


def test_nothing_is_a_reason_that_is_the_same() -> None:
    assert difference({"operation": {}, "parent": "b"}, {"operation": {}, "parent": "a"}) == "a step above changed"
    assert difference({"operation": {}, "seed": 0}, {"operation": {}, "seed": 0}) == "never run"


def test_many_reasons_are_cut() -> None:
    old = {"operation": {"is": "Train", **{f"x{i}": 0 for i in range(20)}}}
    new = {"operation": {"is": "Train", **{f"x{i}": 1 for i in range(20)}}}
    assert difference(new, old).endswith("`x5` was 0, is 1; and more")


def test_a_metric_with_another_formula_is_a_reason() -> None:
    new = {"operation": {}, "metrics": {"flops": 2}}
    assert difference(new, {"operation": {}}) == "a newer version of a metric that it reads"
