"""The shape of a recipe, finished or not."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recipelang.editor.outline import outline, scope_at
from recipelang.editor.structure import entries, folds
from recipelang.syntax import nodes
from recipelang.syntax.parse import read

RECIPES = sorted((Path(__file__).parent.parent.parent / "recipes").rglob("*.rcp"))


def spans(items: tuple[nodes.Item, ...]) -> list[tuple[int, int]]:
    """The places of the statements of a tree and of its blocks."""
    inner = (item.block.items if isinstance(item, nodes.Statement) and item.block else () for item in items)
    return [*((item.span.start, item.span.end) for item in items), *(span for some in inner for span in spans(some))]


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
def test_the_outline_is_that_of_the_tree(file: Path) -> None:
    text = file.read_text(encoding="utf-8")

    def places(found: tuple) -> list[tuple[int, int]]:  # type: ignore[type-arg]
        return [(entry.start, entry.end) for entry in found] + [p for entry in found for p in places(entry.inner)]

    assert sorted(places(entries(text))) == sorted(spans(read(text)[0].body.items))


def test_entries_say_what_they_name() -> None:
    text = (
        "let a = 1\nkeep as b\nsweep c in 1, 2 {\n  data digits as d\n}\nmodel resnet20 as e\nprune 2 layers by taylor"
    )
    found = entries(text)
    assert [entry.sort for entry in found] == ["parameter", "state", "variant", "model", "statement"]
    assert [text[entry.name_start : entry.name_end] for entry in found] == ["a", "b", "c", "e", "prune"]
    assert found[2].inner[0].sort == "data" and found[2].title == "sweep c in 1, 2"


def test_what_folds() -> None:
    text = "# a\n# b\ntrain for 1 epoch # c\n# d\nprune 2 layers\n  by taylor\nvariant a {\n  keep as b\n}\n"
    assert [(f.first, f.last, f.sort) for f in folds(text)] == [(1, 2, "comment"), (5, 6, "block"), (7, 9, "block")]


@given(st.text(st.sampled_from('ab {}()[]\n;#"=,'), max_size=40))
def test_no_text_is_too_strange(text: str) -> None:
    for entry in entries(text):
        assert 0 <= entry.start <= entry.name_start <= entry.name_end <= entry.end <= len(text)
    assert all(0 < fold.first < fold.last for fold in folds(text))
    scope_at(outline(text), len(text))
