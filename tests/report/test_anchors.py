"""Ids of rows: unique, plain, and the same for the same names."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recipelang.report.rows import anchors


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["healthy", "keep=0.5, by=imprint"], ("row-healthy", "row-keep-0-5-by-imprint")),
        (["a b", "a-b", "A B"], ("row-a-b", "row-a-b_2", "row-a-b_3")),
        (["", "中文", "\u202e<script>"], ("row-network", "row-network_2", "row-script")),
        (["x" * 1000], ("row-" + "x" * 48,)),
    ],
)
def test_an_anchor_is_the_name_in_letters_and_digits(names: list[str], expected: tuple[str, ...]) -> None:
    assert anchors(names) == expected


@given(st.lists(st.one_of(st.text(max_size=60), st.sampled_from(["a", "a_2", "a 2", "A"])), max_size=30))
def test_anchors_are_unique_and_safe_in_html_and_in_selectors(names: list[str]) -> None:
    found = anchors(names)
    assert len(set(found)) == len(names)
    assert all(re.fullmatch(r"row-[a-z0-9]([a-z0-9-]*[a-z0-9])?(_\d+)?", anchor) for anchor in found)
