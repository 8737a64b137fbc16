"""What a page has room for: pages of many networks stay small, and say what they leave out."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from recipelang.report import verdicts
from recipelang.report.context import build, compare
from recipelang.report.render import render


def many(record: dict[str, Any], count: int) -> dict[str, Any]:
    """The record with this many variants, each with steps, layers and curves of its own."""
    model = record["variants"][1]
    made = [copy.deepcopy(model) | {"name": f"v{n}", "goes_on": True} for n in range(count)]
    for n, variant in enumerate(made):
        for step in variant["runs"][0]["steps"]:
            step["seconds"] = float(n)
            for point in step.get("history") or ():
                point["loss"] += n / 10
    record["variants"] = [record["variants"][0], *made]
    return record


def test_a_page_of_fifty_variants_has_less_than_two_megabytes(main_record: dict[str, Any]) -> None:
    context = build(many(main_record, 50))
    page = render(context, "html")["report.html"]
    assert len(page.encode()) < 2_000_000
    assert all(f'id="steps-of-v{n}"' in page for n in range(50))


def test_a_remark_that_many_runs_have_is_made_once(main_record: dict[str, Any]) -> None:
    main_record["warnings"] = ["look out", {"code": "RCP0702", "message": "odd", "line": 3}]
    alone = build(main_record)
    assert alone.warnings[:2] == ("look out", "line 3: odd (RCP0702)")
    both = compare([build(main_record, name) for name in "abcdef"])
    assert both.warnings[:2] == (
        "a, b, c and 3 more: look out", "a, b, c and 3 more: line 3: odd (RCP0702)"
    )  # fmt: skip


def test_of_many_verdicts_the_first_are_told_and_those_that_are_missed(
    main_record: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verdicts, "MOST_VERDICTS", 2)
    main_record["expectations"] = [
        {"text": "top1 > 0.1", "line": 9, "variant": "main", "holds": n != 4} for n in range(6)
    ]
    context = build(main_record)
    assert [number for number, _ in context.told_verdicts] == [1, 2, 5]
    page = render(context, "html")["report.html"]
    assert "3 more are in report.json" in page and "1 of 6 expectations not met" in page
    assert [n for n in range(1, 7) if f'id="expectation-{n}"' in page] == [1, 2, 5]


def test_every_variant_has_a_line_on_why(study_record: dict[str, Any]) -> None:
    context = build(study_record)
    lines = {line.row.name: line for line in context.lines}
    assert set(lines) == {row.name for row in context.rows if row.kind == "variant"}
    chosen, *others = context.lines
    assert chosen.row.variant.chosen and chosen.why.startswith("the recipe goes on with it; picked by `choose by top1`")
    for line in others:
        row = line.row
        if row.failed:
            assert line.why == "" and line.sentence.startswith("failed")
        else:
            assert "not picked by `choose by top1`" in line.why
        if row.dominated:
            assert row.lost_to in row.dominated and f"{row.lost_to} is clearly better in " in line.why
    order = [(line.row.failed, bool(line.row.dominated)) for line in others]
    assert order == sorted(order)


def test_what_a_network_lost_in_is_what_the_other_is_clearly_better_in(study_record: dict[str, Any]) -> None:
    context = build(study_record)
    rows = {row.name: row for row in context.rows}
    for row in context.rows:
        for place, metric in enumerate(context.metrics):
            if row.lost_to and metric.role == "quality":
                mine, theirs = (r.cells[place].measured for r in (row, rows[row.lost_to]))
                assert mine and theirs and theirs.value >= mine.value
                assert (theirs.low > mine.high) == (metric.name in row.lost_in)


def test_the_best_of_a_column_leads_the_page_where_no_network_does(study_record: dict[str, Any]) -> None:
    for variant in study_record["variants"]:
        variant |= {"chosen": False}
    context = build(study_record)
    assert context.leading is None
    (found,) = [rows for metric, _, rows in context.champions if metric.name == "top1"]
    values = {row.name: row.cells[1].measured.value for row in context.rows if row.kind == "variant" and not row.failed}
    assert values[found[0].name] == max(values.values())
    assert f'<a href="#{found[0].anchor}">{found[0].name}</a>' in render(context, "html")["report.html"]
