"""A variable of the notebook is the same value in the recipe, or is refused."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recipelang.api.values import literal
from recipelang.errors import Refusal
from recipelang.syntax import nodes
from recipelang.syntax.parse import parse


def read_back(text: str) -> Any:
    """The value that a recipe reads from a text, as Python has it."""
    (item,) = parse(f"let x = {text}").body.items
    assert isinstance(item, nodes.Let)
    return value_of(item.value)


def value_of(node: Any) -> Any:
    if isinstance(node, nodes.List):
        return [value_of(inner) for inner in node.items]
    if isinstance(node, nodes.Call):
        return {"true": True, "false": False}[node.name]
    return node.value if isinstance(node, nodes.String) else node.quantity.value


def same(one: Any, other: Any) -> bool:
    """Whether two values are the same; numbers to 14 digits."""
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return math.isclose(one, other, rel_tol=1e-14) if isinstance(one, float) else bool(one == other)


PLAIN = st.text(st.characters(exclude_characters='"', exclude_categories=("C", "Z")), max_size=12).map("a{}".format)
NUMBERS = st.integers(0, 10**12) | st.floats(0, 1e14, allow_nan=False) | st.booleans()


@given(st.recursive(NUMBERS | PLAIN, lambda inner: st.lists(inner, max_size=3), max_leaves=4))
def test_a_value_reads_back_as_itself(value: Any) -> None:
    assert same(value, read_back(literal("x", value)))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1e-5, "1e-05"),
        (1 / 3, "3.33333333333333e-01"),
        (True, "true"),
        (numpy.float64(0.1), "0.1"),
        (numpy.int64(3), "3"),
        (numpy.bool_(False), "false"),
        (Path("photos/cats"), '"photos/cats"'),
        (("a", 1), '["a", 1]'),
        ("2 epochs", "2 epochs"),
        ("70%", "70%"),
        ("2:4", "2:4"),
        ("0..4", "0..4"),
        ("2 epochs of it", '"2 epochs of it"'),
        ("", '""'),
        ("sgd(lr=1)", '"sgd(lr=1)"'),
    ],
)
def test_texts_of_values(value: Any, text: str) -> None:
    assert literal("x", value) == text


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (-1, "is -1"),
        (float("nan"), "is nan"),
        (float("inf"), "is inf"),
        (None, "is a `NoneType`"),
        (numpy.zeros(2), "is a `ndarray`"),
        ({"a": 1}, "is a `dict`"),
        ('say "x"', "quote"),
        ("two\nlines", "control character"),
        ("right\u202eleft", "control character"),
        ([1, [object()]], "is a `object`"),
    ],
)
def test_other_values_are_refused_with_the_name_of_the_variable(value: Any, said: str) -> None:
    with pytest.raises(Refusal, match="the variable `limit` of the notebook") as refused:
        literal("limit", value)
    assert refused.value.code == "RCP1250" and said in refused.value.message
