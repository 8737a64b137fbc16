"""A loss whose weights are all zero trains nothing, and is refused (RCP1525)."""

from __future__ import annotations

import pytest

from recipelang.check import check
from recipelang.errors import RecipeError
from recipelang.syntax.parse import parse

SETUP = "model digits_resnet\ndata digits\n"


@pytest.mark.parametrize(
    "statement",
    [
        "distill from healthy for 1 epoch with 0 * task + 0 * kd",
        "distill from healthy for 1 epoch with 0 * kd",
        "finetune for 1 epoch with 0 * task",
    ],
)
def test_all_weights_of_zero_are_refused(statement: str) -> None:
    with pytest.raises(RecipeError) as refused:
        check(parse(SETUP + statement))
    (wrong,) = refused.value.diagnostics
    assert wrong.code == "RCP1525" and "nothing would train" in wrong.message


@pytest.mark.parametrize(
    "statement",
    [
        "distill from healthy for 1 epoch with 0 * task + kd",
        "distill from healthy for 1 epoch with 0 * at",  # `1 * task` is added
        "distill from healthy for 1 epoch with linear(0, to=1) * kd",
    ],
)
def test_a_weight_above_zero_is_enough(statement: str) -> None:
    assert check(parse(SETUP + statement)).nodes
