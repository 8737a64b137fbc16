"""What holds for every chart: its group, its numbers as text, what its points say."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

import pytest

from recipelang.report.chart import GROUPS, Charts
from recipelang.report.context import build
from recipelang.report.plots import charts
from recipelang.report.render import render
from recipelang.report.svg import drawing, marked, standalone, to_svg


@pytest.mark.parametrize("name", ["main", "study", "layers"])
def test_every_chart_has_a_group_numbers_and_points_of_known_rows(name: str, request: pytest.FixtureRequest) -> None:
    context = build(request.getfixturevalue(f"{name}_record"))
    drawn = charts(context)
    anchors = {row.anchor for row in context.rows}
    assert len({chart.name for chart in drawn.all}) == len(drawn.all) > 5
    assert [chart for group in GROUPS for chart in drawn.in_group(group)] == list(drawn.all)
    for chart in drawn.all:
        assert chart.title and chart.caption and chart.text.rows
        assert {len(row) for row in chart.text.rows} == {len(chart.text.header)}
        root = ElementTree.fromstring(chart.svg)
        rows = [element.get("data-row") for element in root.iter() if element.get("data-row")]
        assert set(rows) <= anchors and all(e.get("data-tip") for e in root.iter() if e.get("data-row"))
        if chart.name.startswith(("front-", "metric-")):
            assert len(rows) == len(chart.text.rows) == len(set(rows))


def test_an_unknown_group_is_an_error() -> None:
    with pytest.raises(KeyError):
        Charts().in_group("fornt")


def test_tips_are_titles_in_a_separate_file_whatever_they_hold() -> None:
    tip = '"a" <b> & ü\u2028>'
    with drawing(2, 2) as figure:
        (line,) = figure.subplots().plot([1], [1], "o")
        marked(line, (tip, "row-a"))
        svg = to_svg(figure, "x", "alt")
    (point,) = (e for e in ElementTree.fromstring(svg).iter() if e.get("data-row"))
    assert (point.get("data-tip"), point.get("data-row"), point.get("id")) == (tip, "row-a", None)
    alone = ElementTree.fromstring(standalone(svg))
    (title,) = (e for e in alone.iter() if e.tag.endswith("title"))
    assert title.text == tip and "data-" not in standalone(svg)


def test_the_page_has_the_numbers_of_every_chart(main_record: dict[str, Any]) -> None:
    context = build(main_record)
    html, text = render(context, "html")["report.html"], render(context, "markdown")["report.md"]
    drawn = charts(context).all
    assert html.count("<summary>Numbers</summary>") == len(drawn) == len(re.findall(r"figures/[\w-]+\.svg", text))
    folded = sum(chart.group != "comparison" for chart in drawn)
    assert text.count("<summary>Numbers</summary>") == folded  # the comparison is a table already
