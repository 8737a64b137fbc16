"""Edits that format a recipe, compared with the formatter's own result."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recipelang.editor import formatting
from recipelang.editor.formatting import applied, formatted
from recipelang.errors import RecipeError
from recipelang.syntax.format import format

RECIPES = sorted((Path(__file__).parent.parent.parent / "recipes").rglob("*.rcp"))
UNTIDY = """prune   layers  by imprint
   until latency<0.7



# note
finetune for 3epochs;  measure top1
keep as  a
"""


def spoilt(text: str) -> str:
    """The same recipe, badly laid out."""
    return text.replace(" for ", "   for  ").replace("\n  ", "\n      ").replace("\n\n", "\n\n\n\n") + "\n\n"


@pytest.mark.parametrize("text", [UNTIDY, *(spoilt(file.read_text(encoding="utf-8")) for file in RECIPES)])
def test_the_edits_give_what_the_formatter_gives(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert applied(text, formatted(text)) == format(text)
    assert formatted(format(text)) == ()
    monkeypatch.setattr(formatting, "MOST_COMPARED", 1)
    assert applied(text, formatted(text)) == format(text)


STATEMENTS = (
    "keep  as a",
    "# note",
    "",
    "",
    "variant b {\n\n  # in\n\n  measure   top1\n\n}",
    "prune 2 layers",
    "  by taylor",
)
MORE = ("measure top1   # here", "measure top1,latency # there", "seeds 0,\n\n  1", "let a = [1,\n\n2]", "\t", "\r")


@given(st.lists(st.sampled_from((*STATEMENTS, *MORE)), max_size=12))
def test_parts_of_a_recipe_are_formatted_as_the_whole(lines: list[str]) -> None:
    text = "\n".join(lines) + "\n"
    try:
        whole = format(text)
    except RecipeError:
        return
    assert applied(text, formatted(text)).replace("\r\n", "\n") == whole


def test_of_a_long_recipe_only_the_part_that_changes_is_formatted_again(monkeypatch: pytest.MonkeyPatch) -> None:
    formatting._formatted.cache_clear()
    text = "".join(f"keep   as a{number}\n\n" for number in range(100))
    assert len(formatted(text)) == 100 or applied(text, formatted(text)) == format(text)
    formatting._formatted.cache_clear()
    formatting.prepare(text)
    formatting.prepare("prune layers by")
    seen: list[str] = []
    monkeypatch.setattr(formatting, "format", lambda part: seen.append(part) or format(part))
    formatted(text.replace("a50", "b50"))
    assert len(seen) == 1


def test_only_the_lines_that_were_asked_for_are_formatted() -> None:
    end = UNTIDY.index("\n")
    first = applied(UNTIDY, formatted(UNTIDY, 0, end))
    assert first.startswith("prune layers by imprint\n") and first.endswith("keep as  a\n")
    last = applied(UNTIDY, formatted(UNTIDY, UNTIDY.index("keep"), UNTIDY.index("keep") + 1))
    assert last.startswith("prune   layers") and last.endswith("keep as a\n")


def test_of_several_untidy_lines_in_a_row_only_those_asked_for_are_formatted() -> None:
    text = "measure  top1\nmeasure  latency\nkeep  as a\n"
    at = text.index("latency")
    assert applied(text, formatted(text, at, at)) == "measure  top1\nmeasure latency\nkeep  as a\n"


def test_line_ends_of_windows_stay() -> None:
    text = "prune   layers by imprint\r\n  until latency < 0.7\r\n"
    assert applied(text, formatted(text)) == "prune layers by imprint\r\n  until latency < 0.7\r\n"


def test_a_text_with_a_mistake_is_not_formatted() -> None:
    with pytest.raises(RecipeError):
        formatted("prune layers by\n")
