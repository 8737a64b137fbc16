"""Pygments finds the lexer, and reads every recipe without an error."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import find_lexer_class_by_name, get_lexer_for_filename
from pygments.token import Error, Keyword, Name, Number, Token
from rich.console import Console
from rich.syntax import Syntax

from recipelang.pygments_lexer import TYPES, RecipeLexer
from recipelang.syntax.roles import Role

ROOT = Path(__file__).parent.parent
RECIPES = sorted((ROOT / "recipes").rglob("*.rcp"))


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
def test_a_recipe_has_no_error_and_nothing_is_lost(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    tokens = list(RecipeLexer().get_tokens(text))
    assert [value for kind, value in tokens if kind is Error] == []
    assert "".join(value for _, value in tokens) == text


def test_kinds_of_words() -> None:
    tokens = list(RecipeLexer().get_tokens("prune 2 layers by l1(p=2) until $fast < 7days"))
    assert [(kind, value) for kind, value in tokens if value.strip()][:6] == [
        (Keyword, "prune"),
        (Number, "2"),
        (Name, "layers"),
        (Keyword.Pseudo, "by"),
        (Name.Function, "l1"),
        (Token.Punctuation, "("),
    ]
    assert (Error, "7days") in tokens


def test_every_role_has_a_type() -> None:
    assert set(TYPES) == set(Role)


@given(st.text(max_size=80))
def test_any_text_is_read_and_kept(text: str) -> None:
    stretches = list(RecipeLexer().get_tokens_unprocessed(text))
    assert "".join(value for _, _, value in stretches) == text
    assert all(text.startswith(value, at) for at, _, value in stretches)


def test_pygments_finds_it_by_name_and_by_file() -> None:
    assert find_lexer_class_by_name("recipe") is RecipeLexer
    assert isinstance(get_lexer_for_filename("quickstart.rcp"), RecipeLexer)


def test_it_colours_a_page_and_a_terminal() -> None:
    page = highlight("prune layers by l1", RecipeLexer(), HtmlFormatter())
    assert '<span class="k">prune</span>' in page and '<span class="kp">by</span>' in page
    out = io.StringIO()
    Console(file=out, force_terminal=True, width=80).print(Syntax("prune layers by l1", "recipe"))
    assert "\x1b[" in out.getvalue()
