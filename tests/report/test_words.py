"""Singular and plural, and lists that say how many more there are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recipelang.units import counted, listed, show


@pytest.mark.parametrize(
    ("said", "text"),
    [
        (counted(0, "layer"), "0 layers"),
        (counted(1, "layer"), "1 layer"),
        (counted(2, "layer"), "2 layers"),
        (counted(1, "class", "classes"), "1 class"),
        (counted(10, "class", "classes"), "10 classes"),
        (listed([]), ""),
        (listed(["a"]), "a"),
        (listed(["a", "b", "c"]), "a, b and c"),
        (listed(["a, b", "c", "d"]), "a, b; c and d"),
        (listed(["a", "b", "c", "d"], most=3), "a, b, c and d"),  # a fourth takes no more room than its count
        (listed(["a", "b", "c", "d", "e"], most=3), "a, b, c and 2 more"),
    ],
)
def test_numbers_and_lists_read_as_they_should(said: str, text: str) -> None:
    assert said == text


@pytest.mark.parametrize(
    ("value", "text"), [(3.14159, "3.14 images/s"), (512.4, "512 images/s"), (16822.4, "16.8 K images/s")]
)
def test_rates_have_a_scale_as_counts_do(value: float, text: str) -> None:
    assert show(value, "images/s") == text


@given(st.integers(0, 50), st.integers(1, 12))
def test_a_list_leaves_out_nothing_or_counts_it(length: int, most: int) -> None:
    names = [f"n{i}." for i in range(length)]
    said = listed(names, most)
    shown = sum(name in said for name in names)
    assert shown == length or (f"and {length - shown} more" in said and length - shown >= 2)
