"""The curves of searches, in both forms for reading."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from recipelang.report.context import build
from recipelang.report.plots import charts
from recipelang.report.render import render
from recipelang.report.searches import MOST_NAMED

STATEMENTS = ("prune filters by bn with sensitivity until flops < 0.5", "prune filters by bn with sensitivity")


def plot(groups: int) -> dict[str, Any]:
    lines = [{"name": f"layer{k}", "x": [0, 50], "y": [1.0, 1.0 + k]} for k in range(groups)]
    return {"title": "Each group cut alone", "x": "% of the group removed", "y": "loss", "lines": lines}


@pytest.fixture
def searched(main_record: dict[str, Any]) -> dict[str, Any]:
    """A record in which two statements of one network have a plot of the same title."""
    record = copy.deepcopy(main_record)
    steps = next(v for v in record["variants"] if v["name"] == "main")["runs"][0]["steps"]
    for text, groups in zip(STATEMENTS, (3, MOST_NAMED + 2), strict=True):
        steps.append({"verb": "prune", "text": text, "plots": [plot(groups)]})
    return record


def test_a_curve_says_what_it_shows_and_of_which_statement(searched: dict[str, Any]) -> None:
    context = build(searched)
    text, page = (render(context, form)[f"report.{end}"] for form, end in (("markdown", "md"), ("html", "html")))
    html = page.replace("&lt;", "<")
    for statement in STATEMENTS:
        assert f"### `{statement}`\n\nEach group cut alone:\n\n![" in text
        assert f'<p class="caption"><code>{statement}</code> main.' in html


def test_of_many_lines_those_that_reach_highest_are_named(searched: dict[str, Any]) -> None:
    few, many = charts(build(searched)).in_group("search")
    assert few.caption == "main."
    assert many.caption == f"main. {MOST_NAMED + 2} lines; the {MOST_NAMED} that reach highest are named."
