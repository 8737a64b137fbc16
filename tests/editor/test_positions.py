"""Places in a text as editors count them, compared with Python's own encoders."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recipelang.editor.positions import Lines

TEXTS = st.text(st.sampled_from("ab é日😀𝔸\n\r\u2028\x0c\t"), max_size=40)
SIZES = {"utf-8": lambda t: len(t.encode()), "utf-16": lambda t: len(t.encode("utf-16-le")) // 2, "utf-32": len}


@pytest.mark.parametrize("encoding", SIZES)
@given(text=TEXTS)
def test_every_offset_has_its_place_and_comes_back(encoding: str, text: str) -> None:
    lines = Lines(text, encoding)
    for offset in range(len(text) + 1):
        head = text[:offset]
        if head.endswith("\r") and text[offset : offset + 1] == "\n":
            continue  # within a line end
        rows = re.split("\r\n|\n|\r", head)
        assert lines.place(offset) == (len(rows) - 1, SIZES[encoding](rows[-1]))
        assert lines.offset(*lines.place(offset)) == offset


def test_places_beyond_the_text_are_its_ends() -> None:
    lines = Lines("ab\ncd")
    assert lines.offset(0, 99) == 2 and lines.offset(99, 0) == 5 and lines.offset(1, 99) == 5
    assert lines.place(99) == (1, 2) and lines.place(-3) == (0, 0)
    assert len(Lines("")) == 1 and len(Lines("a\n")) == 2


def test_a_place_within_a_character_is_before_it() -> None:
    assert Lines("😀x").offset(0, 1) == 0
    assert Lines("😀x").offset(0, 2) == 1
