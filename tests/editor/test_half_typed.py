"""A recipe while it is typed: after every letter, every question has an answer and none is an error."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recipelang.editor.analysis import Analysis, analyse
from recipelang.editor.cards import card_at, signature_at
from recipelang.editor.completion import choices_at
from recipelang.editor.fixes import fixes
from recipelang.editor.formatting import formatted
from recipelang.editor.names import symbol_at
from recipelang.editor.structure import entries, folds
from recipelang.errors import RecipeError

RECIPES = Path(__file__).parent.parent.parent / "recipes"


def everything(text: str, offset: int) -> Analysis:
    found = analyse(text, "r.rcp")
    for diagnostic in found.diagnostics:
        assert diagnostic.span is None or 0 <= diagnostic.span.start <= len(text)
    symbol_at(found, offset, lambda path: "")
    choices_at(text, offset)
    card_at(text, offset)
    signature_at(text, offset)
    entries(text)
    folds(text)
    try:
        formatted(text)
    except RecipeError as error:
        assert error.diagnostics
    return found


@pytest.mark.parametrize("name", ["quickstart.rcp", "gallery/two_four.rcp", "studies/random_draws.rcp"])
def test_every_beginning_of_a_recipe_has_answers(name: str) -> None:
    text = (RECIPES / name).read_text(encoding="utf-8")
    for end in range(0, len(text), 7):
        everything(text[:end], end)
    assert not [d for d in everything(text, len(text)).diagnostics if d.severity == "error"]


@pytest.mark.parametrize("cut", range(4))
def test_a_hole_in_a_recipe_has_answers(cut: int) -> None:
    text = (RECIPES / "quickstart.rcp").read_text(encoding="utf-8")
    start = len(text) * (cut + 1) // 6
    found = everything(text[:start] + text[start + 9 :], start)
    for diagnostic in found.diagnostics[:2]:
        fixes(found, diagnostic, lambda changed: analyse(changed, "r.rcp"))


@given(st.text(max_size=60), st.integers(0, 60))
def test_any_text_has_answers(text: str, offset: int) -> None:
    everything(text, min(offset, len(text)))


STRANGE = ["\ufeff", "\x00", "\r", "\r\n\r\n", "\u2028prune", "a" * 300, "a" * 200_001, "{" * 50, '"' * 9]
#: nested far deeper than a recipe may be
STRANGE += ["variant a { " * 1500, "train for 1 epoch with " + "sgd(lr=" * 600, "prune layers by " + "a([{" * 600]


@pytest.mark.parametrize("text", STRANGE, ids=range(len(STRANGE)))
def test_strange_texts_have_answers(text: str) -> None:
    everything(text, len(text))
    everything(text, 0)
