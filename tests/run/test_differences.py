"""Why a step runs again, in the words of the recipe."""

from __future__ import annotations

import pytest

from recipelang.plan import Duration, canonical
from recipelang.run.keys import difference


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (Duration(4), Duration(3), "the duration was 4 epochs, is 3 epochs"),
        (Duration(4), Duration(4, "steps"), "the duration was 4 epochs, is 4 steps"),
        (0.1, 0.01, "`setting` was 0.1, is 0.01"),
        (None, 0.01, "`setting` was left out, is 0.01"),
        (None, Duration(3), "`setting` was left out, is 3 epochs"),
    ],
)
def test_a_changed_setting_is_named_with_both_values(old: object, new: object, reason: str) -> None:
    before, after = ({"operation": {"is": "Finetune", "setting": canonical(value)}} for value in (old, new))
    assert difference(after, before) == reason


def test_what_stands_above_is_a_reason_only_where_the_statement_is_the_same() -> None:
    assert difference({"operation": {}, "parent": "b"}, {"operation": {}, "parent": "a"}) == "a step above changed"


def test_a_metric_with_another_formula_is_a_reason() -> None:
    new = {"operation": {}, "metrics": {"flops": 2}}
    assert difference(new, {"operation": {}}) == "a newer version of a metric that it reads"
