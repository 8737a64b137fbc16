"""The recipe on the page: its words told apart, and every line linked to the steps that it became."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recipelang.report import links
from recipelang.report.context import build, compare
from recipelang.report.links import highlight
from recipelang.report.render import render

TEXTS = ['prune "a#b" in x # why', "", "  # only", 'model "unclosed', "##", '"a" "b"', "let a = sgd(\n  lr=1e-2\n)\n\n"]


@pytest.mark.parametrize("text", TEXTS)
def test_highlighting_loses_no_character(text: str) -> None:
    assert "\n".join("".join(piece for _, piece in line) for line in highlight(text)) == text


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r"), max_size=60))
def test_highlighting_loses_no_character_of_any_text(text: str) -> None:
    assert "\n".join("".join(piece for _, piece in line) for line in highlight(text)) == text


def test_the_words_of_a_line_are_told_apart() -> None:
    (line,) = highlight('prune layers by imprint(k=2) until latency < 0.7 in "a#b" # why')
    told = {text: role for role, text in line if text.strip()}
    assert told["prune"] == "verb" and told["by"] == told["until"] == "clause" and told['"a#b"'] == "string"
    assert told["# why"] == "comment" and told["0.7"] == "number" and told["k"] == "setting"


def test_lines_and_steps_lead_to_each_other(main_record: dict[str, Any]) -> None:
    context = build(main_record)
    html = render(context, "html")["report.html"]
    (recipe,) = context.recipes
    steps = [done.step for journey in context.journeys for done in journey.steps if not done.step.implied]
    linked = {int(line.anchor.removeprefix("line-")) for line in recipe.lines if line.noun == "step"}
    assert linked == {step.line for step in steps if step.line} and linked
    for line in (line for line in recipe.lines if line.noun == "step"):
        for anchor, _ in line.places:
            place = re.search(rf'<li id="{re.escape(anchor)}">.*?</li>', html, re.DOTALL)
            assert place and f'href="#{line.anchor}"' in place[0]


def test_a_line_of_a_sweep_leads_to_the_step_of_every_network(study_record: dict[str, Any]) -> None:
    context = build(study_record)
    (recipe,) = context.recipes
    names = [name for _, name in recipe.lines[5].places]
    assert names == [row.name for row in context.rows if row.kind == "variant"]


def test_lines_without_steps_lead_to_verdicts_and_networks(main_record: dict[str, Any]) -> None:
    main_record["recipe"]["text"] = "variant main {\n}\ncontrol\nexpect top1 drop < 1%\nchoose by top1\nlet a = 1"
    main_record["variants"][1]["chosen"] = True
    for variant in main_record["variants"]:
        for step in variant["runs"][0]["steps"] if variant["runs"] else ():
            step["line"] = None
    main_record["expectations"] = [{"text": "top1 drop < 1%", "line": 4, "variant": "main", "holds": True}]
    (recipe,) = build(main_record).recipes
    told = [(line.noun, line.places) for line in recipe.lines]
    assert told[0] == told[4] == ("network", (("row-main", "main"),)) and told[1] == told[5] == ("", ())
    assert told[2] == ("network", (("row-control", "control"),))
    assert told[3] == ("verdict", (("expectation-1", "main"),))
    assert 'id="expectation-1"' in render(build(main_record), "html")["report.html"]


def test_equal_recipes_are_shown_once(main_record: dict[str, Any]) -> None:
    both = compare([build(main_record, "a"), build(main_record, "b")])
    (recipe,) = both.recipes
    assert recipe.runs == ("a", "b")
    anchors = [anchor for line in recipe.lines for anchor, _ in line.places]
    alone = [anchor for line in build(main_record).recipes[0].lines for anchor, _ in line.places]
    assert len(anchors) == len(set(anchors)) == 2 * len(alone)


def test_different_recipes_have_lines_of_their_own(main_record: dict[str, Any], texts_changed: Any) -> None:
    other = main_record | {"recipe": {"path": "b.rcp", "text": main_record["recipe"]["text"] + "\n# more"}}
    both = compare([build(main_record, "a"), build(other, "b")])
    first, second = both.recipes
    assert {line.anchor for line in first.lines}.isdisjoint(line.anchor for line in second.lines)
    assert (both.line_anchor(0, 1), both.line_anchor(1, 1)) == ("line-1", "line-2-1")


def test_of_many_recipes_only_the_first_are_shown(main_record: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "MOST_RECIPES", 2)
    records = [main_record | {"recipe": {"path": f"{n}.rcp", "text": "data digits"}} for n in range(4)]
    context = compare([build(record, str(n)) for n, record in enumerate(records)])
    assert [bool(recipe.lines) for recipe in context.recipes] == [True, True, False, False]
    assert "2 more recipes in the folders of the runs" in render(context, "html")["report.html"]
    assert context.line_anchor(3, 1) == ""


def test_a_line_that_the_recipe_does_not_have_is_not_linked(main_record: dict[str, Any]) -> None:
    for step in main_record["variants"][1]["runs"][0]["steps"]:
        step["line"] = 10_000
    html = render(build(main_record), "html")["report.html"]
    assert "line 10000" in html and "#line-10000" not in html
