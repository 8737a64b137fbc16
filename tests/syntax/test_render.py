"""How a diagnostic is printed: the caret is under its word whatever comes before it."""

from __future__ import annotations

import unicodedata

import pytest

from recipelang.errors import Diagnostic, RecipeError, Span, render
from recipelang.syntax.parse import parse


def first_error(text: str) -> Diagnostic:
    with pytest.raises(RecipeError) as caught:
        parse(text, "first.rcp")
    return caught.value.diagnostics[0]


def columns(text: str) -> int:
    """Columns that a terminal needs, tabs counted as one."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def test_whole_message() -> None:
    text = "model resnet20\ndata cifar10\nprune layers by imprint untill latency < 0.7"
    assert render(first_error(text), text) == (
        "error[RCP0101]: `untill` is not a clause word\n"
        " --> first.rcp:3:25\n"
        "  |\n"
        "3 | prune layers by imprint untill latency < 0.7\n"
        "  |                         ^^^^^^\n"
        "  = help: write `until`"
    )


@pytest.mark.parametrize(
    "line",
    [
        "prune layers by imprint untill x",
        "prune\tlayers\tby\timprint\tuntill x",
        'use "日本語" by kd untill x',
        "prune layers untill_ by" + " kd," * 100 + " kd untill x",
    ],
)
def test_caret_is_under_the_word(line: str) -> None:
    text = f"# one\r\n{line}\r\n"
    diagnostic = first_error(text)
    shown, carets = render(diagnostic, text).splitlines()[3:5]
    before, word = carets[: carets.index("^")], "untill"
    found = shown.rindex(word)
    assert columns(shown[:found]) == len(before)
    assert [c == "\t" for c in before] == [c == "\t" for c in shown[:found] for _ in range(columns(c))]
    assert carets.count("^") == len(word)
    assert len(shown) < 140 and "\r" not in shown


def test_other_line_separators_do_not_shift_lines() -> None:
    text = '# a\u2028b\x0cc\x85d\nprune "x\u2028y" by kd untill x'
    diagnostic = first_error(text)
    assert diagnostic.span and diagnostic.span.line == 2
    assert "untill x" in render(diagnostic, text)


def test_control_characters_do_not_reach_the_terminal() -> None:
    text = 'prune "\x1b[31mred" by kd untill \x1b[2J'
    assert "\x1b" not in render(first_error(text), text)
    assert "\x1b" not in render(Diagnostic("RCP0101", "\x1b[2J", None, "\x1b"), text)


def test_without_text_and_without_span() -> None:
    span = Span(0, 1, 4, 2, 4, 3)
    assert (
        render(Diagnostic("RCP0101", "bad", span, "good"), "") == "error[RCP0101]: bad\n --> recipe:4:2\n  = help: good"
    )
    assert (
        render(Diagnostic("RCP0101", "bad", None, "good", "x.rcp"), "")
        == "error[RCP0101]: bad\n --> x.rcp\n = help: good"
    )
    assert "\x1b[31;1m" in render(Diagnostic("RCP0101", "bad"), "", colour=True)


def test_span_over_several_lines_marks_the_first() -> None:
    shown = render(Diagnostic("RCP0101", "bad", Span(2, 8, 1, 3, 2, 4)), "ab cd\nefg")
    assert shown.splitlines()[-1] == "  |   ^^^"
