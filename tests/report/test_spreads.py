"""Numbers over many seeds, against numpy; they are told where seeds are many, and only there."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

from recipelang.report.context import build
from recipelang.report.plots import charts
from recipelang.report.render import render


@pytest.fixture
def draws(main_record: dict[str, Any]) -> dict[str, Any]:
    """The record with eleven seeds of `main`, whose accuracies and latencies differ."""
    found = copy.deepcopy(main_record)
    main = next(v for v in found["variants"] if v["name"] == "main")
    run, rng = main["runs"][0], np.random.default_rng(0)
    main["runs"] = []
    for seed in range(11):
        again = copy.deepcopy(run) | {"seed": seed}
        for metric in again["metrics"].values():
            metric["value"] *= 1 + 0.1 * rng.random()
            if metric.get("ratio"):
                metric["ratio"] *= 1 + 0.1 * rng.random()
        main["runs"].append(again)
    return found


def test_quartiles_are_those_of_numpy(draws: dict[str, Any]) -> None:
    context = build(draws)
    runs = next(v for v in draws["variants"] if v["name"] == "main")["runs"]
    told = {spread.metric.name: spread for spread in context.spreads}
    for name, field, factor in (("top1", "value", 100), ("latency(batch=64)", "ratio", 1)):
        (box,) = told[name].boxes
        expected = np.quantile([factor * run["metrics"][name][field] for run in runs], [0, 0.25, 0.5, 0.75, 1])
        assert box.row.name == "main" and box.quartiles == pytest.approx(expected)


def test_a_table_and_a_box_are_in_every_form_for_reading(draws: dict[str, Any]) -> None:
    context = build(draws)
    files = render(context, "markdown")
    assert "## Spread over seeds" in files["report.md"] and "| main | 11 |" in files["report.md"]
    drawn = charts(context).in_group("spread")
    assert len(drawn) == len(context.spreads) > 1
    for chart in drawn:
        assert f"figures/{chart.name}.svg" in files and chart.svg.count("<use ") >= 11  # a dot for each seed
    assert "Spread over seeds" in render(context, "html")["report.html"]


def test_few_seeds_have_no_quartiles(study_record: dict[str, Any]) -> None:
    context = build(study_record)
    assert max(row.seeds for row in context.rows) == 3 and context.spreads == ()
    assert "Spread over seeds" not in render(context, "markdown")["report.md"]


def test_seeds_that_agree_have_no_box(draws: dict[str, Any]) -> None:
    main = next(v for v in draws["variants"] if v["name"] == "main")
    for run in main["runs"]:
        run["metrics"]["top1"]["value"] = 0.9
    assert "top1" not in {spread.metric.name for spread in build(draws).spreads}
