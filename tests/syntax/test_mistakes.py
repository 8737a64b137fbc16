"""Syntax errors: the messages and their places. The cases are pairs of texts in tests/cases/syntax/mistakes.txt."""

from __future__ import annotations

import itertools
import random
import re
from pathlib import Path

import pytest

from recipelang.errors import RecipeError, render
from recipelang.syntax.parse import parse
from recipelang.syntax.tables import tables

ROOT = Path(__file__).parents[2]
CASES = ROOT / "tests" / "cases"
PAIRS = re.findall(
    r"^=== (.*)\n([\s\S]*?)\n--- says\n([\s\S]*?)\n(?=\n===|\Z)", (CASES / "syntax/mistakes.txt").read_text(), re.M
)
PAGES = sorted((ROOT / "recipelang" / "explanations").glob("RCP01*.md"))


def messages(text: str) -> str:
    with pytest.raises(RecipeError) as caught:
        parse(text)
    return "\n".join(render(d, text) for d in caught.value.diagnostics)


def test_there_are_cases() -> None:
    assert len(PAIRS) > 80 and len({title for title, *_ in PAIRS}) == len(PAIRS)


@pytest.mark.parametrize(("text", "said"), [pair[1:] for pair in PAIRS], ids=[pair[0] for pair in PAIRS])
def test_what_is_said(text: str, said: str) -> None:
    assert messages(text) == said


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_pages_show_their_own_mistake(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text.startswith(f"# {page.stem}: ")
    wrong, right = re.findall(r"```\n(.*?)\n```", text, re.DOTALL)
    if not right.startswith("recipe "):
        parse(right)
        assert f"error[{page.stem}]" in messages(wrong)


def test_every_code_has_a_page() -> None:
    source = "".join(p.read_text(encoding="utf-8") for p in (ROOT / "recipelang" / "syntax").glob("*.py"))
    assert set(re.findall(r'"(RCP\d{4})"', source)) == {page.stem for page in PAGES}


def test_the_rest_is_read_after_an_error() -> None:
    text = "prune layers untill_ by\nvariant a untill b by {\n  finetune for 3 epocs\n}\nmeasure top1,\nexpect a = 1"
    lines = re.findall(r"--> recipe:(\d+)", messages(text))
    assert lines == ["1", "2", "3", "5", "6"]


def test_a_file_without_sense_is_refused_in_order_and_at_once() -> None:
    for text in (
        "\x00\x01\x02",
        "{" * 30,
        "}" * 300,
        '"' * 99,
        "import torch\nx = 1",
        "<html>",
        "%PDF-1.4 \ufffd",
    ):
        with pytest.raises(RecipeError) as caught:
            parse(text)
        assert 1 <= len(caught.value.diagnostics) <= 20


FRAGMENTS = (
    *"{}()[],;\"=<*+.$#-é%:'/\\\n\t\r\x00",
    *("\r\n", " by ", " until ", " and ", "$x", "3 ", "0.7x", "2:4", " as ", " let ", "..", "\ufeff", "|| "),
)


def test_mutated_recipes_never_escape() -> None:
    """Whatever is cut, doubled or inserted into a recipe: diagnostics with right places and plain words, or a tree."""
    texts = [p.read_text(encoding="utf-8") for p in sorted((CASES / "examples").glob("*.rcp"))]
    terminals = set(tables().terminals) - {"NAME", "TO", "IN", "ON", "BY", "AS", "OR", "LET"} | {
        "$END",
        "STRAY",
    }
    chance = random.Random(0)
    refused = 0
    for _ in range(500):
        text = chance.choice(texts)
        start = chance.randrange(len(text))
        text = text[start : start + chance.randrange(5, 250)]
        for _ in range(chance.randrange(5)):
            at, cut = chance.randrange(len(text) + 1), chance.choice((0, 0, 1, 7))
            text = text[:at] + chance.choice((*FRAGMENTS, text[cut : 3 * cut])) + text[at + cut :]
        try:
            parse(text)
        except RecipeError as error:
            refused += 1
            for diagnostic in error.diagnostics:
                span = diagnostic.span
                assert span and 0 <= span.start <= span.end <= len(text)
                assert (span.line, span.column) == (
                    text.count("\n", 0, span.start) + 1,
                    span.start - text.rfind("\n", 0, span.start),
                )
                assert diagnostic.message and diagnostic.help
                assert not terminals & set(
                    re.findall(r"[A-Z$_]+", re.sub(r"`[^`]*`", "", diagnostic.message + diagnostic.help))
                )
                render(diagnostic, text)
            assert list(error.diagnostics) == sorted(error.diagnostics, key=lambda d: d.span)  # type: ignore[arg-type,return-value]
    assert refused > 200


TOKENS = (
    *("a", "3", "70%", "2:4", '"s"', "$p", "by", "until", "in", "as", "let", "and", "<", "=", "+", "*"),
    *(",", ".", "(", ")", "[", "]", "{", "}", ";", "\n", "# c\n", "-", "é", '"', "1x2x", "untill"),
)


def test_every_pair_of_words_after_a_verb_is_read_or_explained() -> None:
    for pair in itertools.product(TOKENS, repeat=2):
        for text in (f"a b {' '.join(pair)} c", "".join(pair), f"a (b{pair[0]} {pair[1]}"):
            try:
                parse(text)
            except RecipeError as error:
                assert all(d.message and d.help and d.span for d in error.diagnostics), text


def test_a_setting_after_parentheses_of_the_verb() -> None:
    assert "RCP0103" in messages("measure (top1)=")
