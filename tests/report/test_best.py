"""The best of each column."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest

from recipelang.report.context import ReportContext, build, compare, side_by_side


def variants(record: dict[str, Any], *numbers: tuple[tuple[float, float, float], float]) -> ReportContext:
    """A record with one variant `v0`, `v1`, … for each ((latency as a ratio, its low, its high), top1)."""
    model = record["variants"][1]
    made = []
    for place, ((ratio, low, high), top1) in enumerate(numbers):
        variant = copy.deepcopy(model) | {"name": f"v{place}", "runs": []}
        clock = variant["metrics"]["latency(batch=64)"]
        clock |= {"ratio": ratio, "ratio_low": low, "ratio_high": high}
        clock |= {"value": ratio / 30, "low": low / 30, "high": high / 30}
        variant["metrics"]["top1"] |= {"value": top1, "low": top1 - 0.02, "high": top1 + 0.02}
        made.append(variant)
    record["variants"][1:2] = made
    return build(record)


def marked(context: ReportContext, metric: str) -> list[str]:
    return [row.name for row in context.rows for cell in row.cells if cell.best and cell.metric.name == metric]


def test_the_best_of_a_column_is_marked_whatever_healthy_has(main_record: dict[str, Any]) -> None:
    context = variants(main_record, ((0.5, 0.49, 0.51), 0.80), ((0.7, 0.69, 0.71), 0.89))
    assert marked(context, "latency(batch=64)") == ["v0"]
    assert marked(context, "top1") == ["v1"]


def test_clocks_whose_intervals_meet_are_equally_good(main_record: dict[str, Any]) -> None:
    context = variants(main_record, ((0.5, 0.48, 0.52), 0.8), ((0.51, 0.5, 0.53), 0.8), ((0.7, 0.69, 0.71), 0.8))
    assert marked(context, "latency(batch=64)") == ["v0", "v1"]
    assert marked(context, "top1") == [], "all are equally good"


@pytest.mark.parametrize("change", [{"error": {"message": "no"}}, {"metrics": {}}])
def test_a_single_number_is_the_best_of_nothing(main_record: dict[str, Any], change: dict[str, Any]) -> None:
    variants(main_record, ((0.5, 0.49, 0.51), 0.80), ((0.7, 0.69, 0.71), 0.89))
    main_record["variants"][1] |= change
    context = build(main_record)
    assert marked(context, "latency(batch=64)") == marked(context, "top1") == []


def test_runs_of_several_healthy_networks_compare_what_was_measured(main_record: dict[str, Any]) -> None:
    """A ratio to another healthy network says nothing about which network is faster."""
    other = copy.deepcopy(main_record)
    clock = other["variants"][1]["metrics"]["latency(batch=64)"]
    clock |= {"ratio": 0.9, "ratio_low": 0.9, "ratio_high": 0.9, "value": 0.01, "low": 0.009, "high": 0.011}
    context = compare([build(main_record, "a"), build(other, "b")])
    assert marked(context, "latency(batch=64)") == ["b: main"]


def test_a_mean_says_of_how_many_seeds(study_record: dict[str, Any]) -> None:
    found = {row.name: [cell.n for cell in row.cells] for row in build(study_record).rows}
    assert set(found["criterion=imprint, budget=0.8"]) == {3}
    assert set(found["healthy"]) == {1}


@pytest.mark.parametrize(("data", "best"), [("digits", ["b: v1"]), ("cifar10", [])])
def test_qualities_on_different_data_have_no_best(main_record: dict[str, Any], data: str, best: list[str]) -> None:
    """A point of digits is not a point of another data set; costs of the structure are comparable all the same."""
    other = copy.deepcopy(main_record)
    one = variants(main_record | {"environment": {**main_record["environment"], "data": "digits"}}, (RATIO, 0.8))
    two = variants(other | {"environment": {**other["environment"], "data": data}}, (RATIO, 0.7), (RATIO, 0.9))
    sources = [replace(context.sources[0], name=name) for context, name in ((one, "a"), (two, "b"))]
    assert marked(side_by_side(sources), "top1") == best


RATIO = (0.5, 0.49, 0.51)
