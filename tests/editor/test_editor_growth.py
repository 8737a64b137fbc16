"""Questions of editors take time in proportion to the text: calls are counted, no clock is read."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

from recipelang.editor import cursor, formatting, outline
from recipelang.editor.analysis import Analysis, analyse
from recipelang.editor.cards import card_at, prepare, signature_at
from recipelang.editor.completion import choices_at
from recipelang.editor.fixes import LONGEST_TRIED, fixes
from recipelang.editor.formatting import formatted
from recipelang.editor.names import name_card, symbol_at
from recipelang.editor.positions import Lines
from recipelang.editor.structure import entries, folds

PART = '# note @\nkeep as s@\nprune 1 layer by imprint\n  except "fc"\n\nfinetune for 1 epoch with $tune\n'
WRONG = "prune 1 layer by imprnt\n"


def recipe(parts: int) -> str:
    return "let tune = sgd\n" + "".join(PART.replace("@", str(n)) for n in range(parts)) + WRONG


def middle(text: str) -> int:
    return text.index("imprint", len(text) // 2) + 4


def definition(text: str) -> None:
    found = analyse(text)
    symbol = symbol_at(found, text.index("$tune", len(text) // 2), lambda path: "")
    assert symbol is not None
    name_card(found, symbol, lambda path: "")


def long_fix(text: str) -> None:
    text += "#" * LONGEST_TRIED
    found = analyse(text)
    wrong = next(d for d in found.diagnostics if d.code == "RCP0202")

    def never(text: str) -> Analysis:
        raise AssertionError("a long text is not analysed again")

    assert fixes(found, wrong, never)


def places(text: str) -> None:
    lines = Lines(text)
    for offset in range(0, len(text), 7):
        lines.offset(*lines.place(offset))


QUESTIONS: dict[str, Callable[[str], Any]] = {
    "completion": lambda text: choices_at(text, middle(text)),
    "a card": lambda text: card_at(text, middle(text)),
    "settings of a call": lambda text: signature_at(text, middle(text)),
    "a definition": definition,
    "fixes": long_fix,
    "outline": entries,
    "folding": folds,
    "formatting": formatted,
    "places": places,
}


def calls(work: Callable[[str], Any], text: str) -> int:
    """How many functions are called."""
    for remembered in (cursor.words_of, outline.outline, formatting._formatted):
        remembered.cache_clear()
    count = 0

    def note(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        work(text)
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize("name", QUESTIONS)
def test_twice_the_text_takes_about_twice_the_calls(name: str) -> None:
    prepare()
    work = QUESTIONS[name]
    work(recipe(20))
    once, twice = calls(work, recipe(60)), calls(work, recipe(120))
    assert twice < 2.3 * once + 200, (once, twice)


def test_after_a_change_only_the_part_around_it_is_formatted_and_the_text_scanned_once() -> None:
    prepare()
    text = recipe(100)
    calls(formatted, text)
    first = calls(formatted, text)
    formatted(text)
    changed = text.replace("keep as s50", "keep as  s50")
    count = 0

    def note(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(note)
    try:
        formatted(changed)
    finally:
        sys.setprofile(None)
    assert count < first / 5
