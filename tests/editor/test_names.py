"""Names: where they are given and used, and what another name changes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from recipelang.editor.analysis import Analysis, analyse
from recipelang.editor.formatting import applied
from recipelang.editor.names import name_card, renamed, symbol_at
from recipelang.errors import Refusal

RECIPES = sorted((Path(__file__).parent.parent.parent / "recipes").rglob("*.rcp"))
TEXT = """let lr = 0.1
let tune = sgd(lr=$lr)
train for 1 epoch with $tune
keep as early
variant a {
  prune 1 layer by imprint
  keep as inner
  let tune = adam
  finetune for 1 epoch with $tune
  distill from inner
}
sweep n in 1..2 {
  prune $n layers by imprint
  distill from early with kd, $tune
}
data digits as more
expect a.latency < early.latency on more
"""


def look(text: str, files: Mapping[str, str] | None = None) -> Analysis:
    return analyse(text, "r.rcp", text_of=dict(files or {}).__getitem__)


def found(text: str, word: str, nth: int = 0, files: Mapping[str, str] | None = None) -> tuple[str, str, list[int]]:
    """(name, sort, lines where it is given and used) of the nth occurrence of a word."""
    offset = -1
    for _ in range(nth + 1):
        offset = text.index(word, offset + 1)
    symbol = symbol_at(look(text, files), offset, dict(files or {}).__getitem__)
    assert symbol is not None
    return symbol.name, symbol.sort, [mention.span.line for mention in (symbol.given, *symbol.uses)]


@pytest.mark.parametrize(
    ("word", "nth", "expected"),
    [
        ("lr =", 0, ("lr", "parameter", [1, 2])),
        ("$lr", 0, ("lr", "parameter", [1, 2])),
        ("tune", 0, ("tune", "parameter", [2, 3, 14])),
        ("tune", 2, ("tune", "parameter", [8, 9])),
        ("$tune", 1, ("tune", "parameter", [8, 9])),
        ("$tune", 2, ("tune", "parameter", [2, 3, 14])),
        ("early", 0, ("early", "state", [4, 14, 17])),
        ("early", 2, ("early", "state", [4, 14, 17])),
        ("inner", 0, ("inner", "state", [7, 10])),
        ("a {", 0, ("a", "variant", [5, 17])),
        ("a.lat", 0, ("a", "variant", [5, 17])),
        ("$n", 0, ("n", "variant", [12, 13])),
        ("more", 1, ("more", "data", [16, 17])),
    ],
)
def test_a_name_is_where_it_is_given_and_used(word: str, nth: int, expected: tuple[str, str, list[int]]) -> None:
    assert found(TEXT, word, nth) == expected


@pytest.mark.parametrize("word", ["prune", "imprint", "healthy", "0.1", "{"])
def test_other_words_are_no_names(word: str) -> None:
    text = TEXT + "distill from healthy\n"
    assert symbol_at(look(text), text.index(word), lambda path: "") is None


def test_names_are_found_beside_mistakes() -> None:
    text = (
        "let t = sgd\nprune layers byy imprint\ntrain for 3 epocs with adam\ntrain for 1 epoch with $t\nvariant x {\n"
    )
    assert found(text, "$t") == ("t", "parameter", [1, 4])


def test_a_name_of_another_file() -> None:
    files = {"base.rcp": "# first\ntrain for 1 epoch\nkeep as early\n"}
    text = 'use "base.rcp"\nprune 1 layer by imprint\ndistill from early\n'
    analysis = look(text, files)
    symbol = symbol_at(analysis, text.index("early"), files.__getitem__)
    assert symbol is not None and (symbol.given.path, symbol.given.span.line) == ("base.rcp", 3)
    assert name_card(analysis, symbol, files.__getitem__).startswith("**early** (state, base.rcp, line 3)")
    made = renamed(analysis, symbol, "late", files.__getitem__, lambda texts: look(texts["r.rcp"], texts))
    assert applied(files["base.rcp"], made["base.rcp"]).endswith("keep as late\n")
    assert applied(text, made["r.rcp"]).endswith("distill from late\n")


def test_the_card_of_a_value_says_what_it_stands_for() -> None:
    symbol = symbol_at(look(TEXT), TEXT.index("$tune"), lambda path: "")
    assert symbol is not None
    card = name_card(look(TEXT), symbol, lambda path: "")
    assert card.startswith("**tune** (value, line 2)") and "`sgd(lr=0.1)`" in card


def rename(text: str, word: str, new: str) -> str:
    analysis = look(text)
    symbol = symbol_at(analysis, text.index(word), lambda path: "")
    assert symbol is not None
    made = renamed(analysis, symbol, new, lambda path: "", lambda texts: look(texts["r.rcp"]))
    return applied(text, made["r.rcp"])


def test_another_name_changes_every_word_of_it_and_nothing_else() -> None:
    after = rename(TEXT, "tune", "$slow")
    assert after.count("slow") == 3 and after.count("$tune") == 1
    assert "let slow = sgd" in after and "with $slow" in after and "let tune = adam" in after
    assert rename(TEXT, "early", "early") == TEXT
    assert rename(TEXT, "$n", "count").count("$count") == 1


@pytest.mark.parametrize(
    ("word", "new", "code"),
    [
        ("early", "a b", "RCP0110"),
        ("early", "", "RCP0110"),
        ("early", "with", "RCP0110"),
        ("early", "é", "RCP0110"),
        ("early", "healthy", "RCP0207"),
        ("early", "inner", "RCP0207"),
        ("early", "n", "RCP0207"),
        ("a {", "test", "RCP0207"),
    ],
)
def test_a_name_that_would_change_the_recipe_is_refused(word: str, new: str, code: str) -> None:
    with pytest.raises(Refusal) as refused:
        rename(TEXT, word, new)
    assert refused.value.code == code


@pytest.mark.parametrize("file", RECIPES[::5], ids=lambda file: file.stem)
def test_every_name_of_a_recipe_can_be_renamed_and_back(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    analysis = look(text)
    for given in sorted(analysis.mentions.given):
        name = text[given.span.start : given.span.end]
        after = rename(text, text[given.span.start :], f"{name}_2")
        assert rename(after, after[given.span.start :], name) == text


def test_every_use_is_of_a_word_that_gives_a_name() -> None:
    for file in RECIPES:
        mentions = look(file.read_text(encoding="utf-8")).mentions
        assert set(mentions.uses.values()) <= set(mentions.given)
