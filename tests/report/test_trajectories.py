"""The way of a network through its statements: what was measured after each, worked out by hand."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from recipelang.report.chart import Chart
from recipelang.report.context import build
from recipelang.report.looks import looks
from recipelang.report.trajectories import routes, trajectory


def drawn(record: dict[str, Any]) -> tuple[Chart, ...]:
    context = build(record)
    look = looks(context.rows, ["run"])
    return tuple(trajectory(one, k, look) for k, one in enumerate(routes(context.rows, context.metrics)))


@pytest.fixture
def measured(main_record: dict[str, Any]) -> dict[str, Any]:
    """`main` with measurements between its statements: accuracy after two of them, a budget reached by one."""
    found = copy.deepcopy(main_record) | {"format": "recipelang.report/2"}
    steps = next(v for v in found["variants"] if v["name"] == "main")["runs"][0]["steps"]
    for variant in found["variants"]:
        for run in variant["runs"]:
            for step in run["steps"]:
                step["asked"], step["reached"] = [], []
    prune, finetune, sparsify, _ = steps[2:6]
    prune["metrics"] = {}
    prune["reached"] = [{"what": "latency(batch=64)", "value": 0.684, "unit": "x"}, {"what": "removed", "value": 8}]
    steps.insert(3, {"verb": "measure", "text": "measure top1", "metrics": {"top1": {"value": 0.65, "unit": "%"}}})
    finetune["metrics"] = {}
    sparsify["metrics"] = {"flops": {"value": 1.0, "unit": "FLOPs", "ratio": 0.5}}
    return found


def test_a_way_has_what_was_measured_where_it_was(measured: dict[str, Any]) -> None:
    (chart,) = drawn(measured)
    assert chart.text.header == ("network", "", "healthy", "prune", "finetune", "sparsify", "distill")
    assert chart.text.rows == (
        ("main", "top1", "90.47 %", "65.00 %", "–", "–", "90.11 %"),
        ("main", "latency(batch=64)", "1.00×", "0.68×", "–", "–", "0.68×"),
        ("main", "flops", "1.00×", "–", "–", "0.50×", "0.70×"),
    )
    assert chart.svg.count("data-tip=") == 9
    assert "main, after prune: top1 65.00 %" in chart.svg


def test_seeds_are_averaged(measured: dict[str, Any]) -> None:
    main = next(v for v in measured["variants"] if v["name"] == "main")
    again = copy.deepcopy(main["runs"][0]) | {"seed": 1}
    again["steps"][3]["metrics"]["top1"]["value"] = 0.75
    main["runs"].append(again)
    (chart,) = drawn(measured)
    assert chart.text.rows[0][3] == "70.00 %" and "Means over seeds" in chart.caption


def test_variants_with_the_same_statements_share_a_chart_and_others_have_their_own(measured: dict[str, Any]) -> None:
    main = next(v for v in measured["variants"] if v["name"] == "main")
    measured["variants"] += [copy.deepcopy(main) | {"name": "same"}, copy.deepcopy(main) | {"name": "shorter"}]
    del measured["variants"][-1]["runs"][0]["steps"][-1]
    first, second = drawn(measured)
    assert {row[0] for row in first.text.rows} == {"main", "same"}
    assert {row[0] for row in second.text.rows} == {"shorter"}


def test_a_cost_that_is_known_once_is_no_way(measured: dict[str, Any]) -> None:
    steps = next(v for v in measured["variants"] if v["name"] == "main")["runs"][0]["steps"]
    steps[3]["metrics"] = {}
    assert drawn(measured) == ()


def test_only_ends_are_no_way(main_record: dict[str, Any]) -> None:
    for variant in main_record["variants"]:
        for run in variant["runs"]:
            for step in run["steps"]:
                step["metrics"] = {}
    assert drawn(main_record) == ()
