"""Training curves with their validation, and looks of curves."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest

from recipelang.report.chart import Chart
from recipelang.report.context import build
from recipelang.report.looks import MOST_GROUPS, looks, own
from recipelang.report.losses import training


def drawn(record: dict[str, Any]) -> list[Chart]:
    context = build(record)
    look = looks(context.rows, ["run"])
    return [training(one, k, look) for k, one in enumerate(context.trainings)]


@pytest.fixture
def validated(main_record: dict[str, Any]) -> dict[str, Any]:
    """The record, whose first training was validated after each of its points."""
    found = copy.deepcopy(main_record)
    for variant in found["variants"][1:]:
        step = next(s for s in variant["runs"][0]["steps"] if s.get("history"))
        for k, point in enumerate(step["history"]):
            point["validation"] = {"loss": 1.0, "score": 0.5 + k / 100, "name": "accuracy", "n": 250}
    return found


def test_validation_stands_below_the_loss(validated: dict[str, Any]) -> None:
    first, second = drawn(validated)
    assert first.caption == "2 networks. Below: accuracy on 250 validation samples."
    assert "validation accuracy (%)" in first.svg and "validation" not in second.svg
    for variant in validated["variants"][1:]:
        for point in next(s for s in variant["runs"][0]["steps"] if s.get("history"))["history"]:
            point["validation"]["name"] = "sample_f1"
    several, _ = drawn(validated)
    assert several.caption == "2 networks. Below: F1 of each sample on 250 validation samples."
    assert several.text.header[-2] == "first validation F1 of each sample (%)"
    assert [row[-1] for row in several.text.rows] == [row[-1] for row in first.text.rows]
    points = len(validated["variants"][1]["runs"][0]["steps"][3]["history"])
    (row, *_) = first.text.rows
    assert first.text.header[-2:] == ("first validation accuracy (%)", "last")
    assert row[-2:] == ("50", f"{50 + points - 1}")
    assert re.findall(r"main, seed 0, epoch (\S+): (\S+)\"", first.svg)[points] == ("0.25", "50")


def test_a_task_without_a_score_shows_its_loss(validated: dict[str, Any]) -> None:
    for variant in validated["variants"][1:]:
        for step in variant["runs"][0]["steps"]:
            for point in step.get("history") or []:
                if point.get("validation"):
                    point["validation"] = {"loss": 0.25, "n": 250}
    first, _ = drawn(validated)
    assert "validation loss" in first.svg and first.text.rows[0][-2:] == ("0.25", "0.25")


def test_why_there_is_no_validation_is_said(main_record: dict[str, Any]) -> None:
    for variant in main_record["variants"][1:]:
        for step in variant["runs"][0]["steps"]:
            if step.get("history"):
                step["unvalidated"] = "the data has no validation split"
    assert all("No validation: the data has no validation split." in chart.caption for chart in drawn(main_record))


def test_a_loss_that_is_no_number_is_left_out(main_record: dict[str, Any]) -> None:
    for variant in main_record["variants"][1:]:
        for step in variant["runs"][0]["steps"]:
            for point in step.get("history") or []:
                point["loss"] = None
    assert all(row[3:] == ("–", "–") for chart in drawn(main_record) for row in chart.text.rows)


def test_few_curves_have_looks_of_their_own_and_many_those_of_their_groups(study_record: dict[str, Any]) -> None:
    context = build(study_record)
    look = looks(context.rows, ["run"])
    names = [row.name for row in context.rows]
    few = own([*names[:4], "a and b"], look)
    assert len({(one.colour, one.shape) for one in few.values()}) == 5 and few["healthy"] == look["healthy"]
    many = own([*names, "a and b"], look)
    assert len(names) >= MOST_GROUPS and all(many[name] == look[name] for name in names)
    assert many["a and b"].group == "several networks"
