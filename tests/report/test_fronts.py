"""The front against brute force, and places of marks and numbers, which may not hide each other."""

from __future__ import annotations

import copy
import math
import random
import re
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recipelang.report.chart import Chart
from recipelang.report.context import build, compare
from recipelang.report.fronts import MOST_NUMBERED, MOST_POINTS, best_of, fronts
from recipelang.report.looks import MOST_GROUPS, looks
from recipelang.report.placing import apart, beside
from recipelang.report.plots import charts

PLACES = st.lists(st.tuples(st.integers(0, 9).map(float), st.integers(0, 9).map(float)), min_size=1, max_size=30)
FRAME = (300.0, 200.0)


@given(PLACES, st.tuples(st.booleans(), st.booleans()))
def test_the_front_is_what_no_other_point_beats(found: list[tuple[float, float]], lower: tuple[bool, bool]) -> None:
    signed = [(x if lower[0] else -x, y if lower[1] else -y) for x, y in found]
    beaten = [any(a <= x and b <= y and (a, b) != (x, y) for a, b in signed) for x, y in signed]
    assert best_of(found, lower) == [not one for one in beaten]


@settings(max_examples=30)
@given(PLACES)
def test_marks_are_moved_apart_within_their_reach_and_the_frame(found: list[tuple[float, float]]) -> None:
    places = [(30 * x, 20 * y) for x, y in found]
    moved = apart(places, 6.5, 15.0, FRAME)
    for (x, y), (a, b) in zip(places, moved, strict=True):
        assert math.hypot(a - min(max(x, 3.25), 296.75), b - min(max(y, 3.25), 196.75)) <= 15.0 + 1e-6
        assert 3.2 <= a <= 296.8 and 3.2 <= b <= 196.8
    if len(places) <= 6:  # there is room for these, wherever they are
        pairs = [(p, q) for i, p in enumerate(moved) for q in moved[:i]]
        assert all(math.dist(p, q) > 5.5 for p, q in pairs)


def test_a_mark_that_hides_nothing_stays() -> None:
    assert apart([(10.0, 10.0), (100.0, 100.0)], 6.5, 15.0, FRAME) == [(10.0, 10.0), (100.0, 100.0)]


def test_numbers_avoid_marks_and_each_other() -> None:
    marks = [(100.0 + 9 * k, 100.0) for k in range(6)]
    spots = beside(marks, marks, 8.0, 10.0)
    for i, (x, y) in enumerate(spots):
        assert all(abs(x - a) >= 7 - 1e-6 or abs(y - b) >= 8 - 1e-6 for a, b in marks)
        assert all(abs(x - a) >= 8 or abs(y - b) >= 10 for a, b in spots[:i])


def sweep(record: dict[str, Any], count: int) -> dict[str, Any]:
    """The record with this many variants of two parameters, of which some lie at one place and some far below."""
    draws, found = random.Random(0), copy.deepcopy(record)
    main = next(v for v in found["variants"] if v["name"] == "main")
    found["variants"].remove(main)
    for k in range(count):
        one = copy.deepcopy(main) | {"name": f"a={k % 3}, b={k}", "parameters": {"a": k % 3, "b": k}}
        one["runs"] = []
        for metric in one["metrics"].values():
            if metric.get("ratio"):
                metric["ratio"] = metric["ratio_low"] = metric["ratio_high"] = round(0.3 + 0.7 * draws.random(), 1)
        top1 = one["metrics"]["top1"]
        top1["value"] = top1["low"] = top1["high"] = 0.1 if k % 10 == 9 else 0.8 + 0.1 * draws.random()
        found["variants"].append(one)
    return found


def front(record: dict[str, Any]) -> tuple[Chart, ...]:
    context = build(record)
    return fronts(context, looks(context.rows, [source.name for source in context.sources]))


def marks_of(chart: Chart) -> dict[str, tuple[float, float]]:
    found = [e for e in ElementTree.fromstring(chart.svg).iter() if e.get("data-row")]
    return {str(e.get("data-row")): (float(e.get("x", "nan")), float(e.get("y", "nan"))) for e in found}


@pytest.mark.parametrize("count", [2, 60])
def test_every_network_is_drawn_where_none_hides_another(count: int, main_record: dict[str, Any]) -> None:
    record = sweep(main_record, count)
    anchors = {row.anchor for row in build(record).rows}
    for chart in front(record):
        marks = marks_of(chart)
        assert set(marks) == anchors  # the collapsed ones too, at the edge
        places = list(marks.values())
        nearest = sorted(math.dist(p, q) for i, p in enumerate(places) for q in places[:i])
        assert nearest[0] > 3 and nearest[len(nearest) // 50] > 5  # marks have 5.5
        assert ("drawn at the edge" in chart.caption) == (count == 60)


def test_the_front_is_numbered_and_the_numbers_are_explained(main_record: dict[str, Any]) -> None:
    for chart in front(sweep(main_record, 60)):
        column = chart.text.header.index("on the front")
        ahead = [row for row in chart.text.rows if row[column] not in ("–", "yes")]
        assert 1 <= len(ahead) <= MOST_NUMBERED
        for row in ahead:
            assert re.search(rf">{row[column]}  {re.escape(row[0])}<", chart.svg) and f">{row[column]}<" in chart.svg


def test_of_a_thousand_networks_the_front_is_always_drawn(main_record: dict[str, Any]) -> None:
    record = sweep(main_record, MOST_POINTS + 20)
    last = record["variants"][-1]["metrics"]  # the last of the record is the best of all
    last["top1"]["value"] = last["top1"]["low"] = last["top1"]["high"] = 0.95
    for metric in ("latency(batch=64)", "flops", "size"):
        last[metric]["ratio"] = 0.2
    (best,) = (row.anchor for row in build(record).rows if row.name == record["variants"][-1]["name"])
    for chart in front(record)[:1]:
        assert best in marks_of(chart) and f"{MOST_POINTS} of 322 networks are drawn." in chart.caption


def test_healthy_of_many_runs_leaves_room_for_the_networks(main_record: dict[str, Any]) -> None:
    """More rows than fit, and healthy of each run on the front: all but one of those are what is left out."""
    context = compare([build(main_record, f"run {number}") for number in range(MOST_POINTS // 3 + 20)])
    look = looks(context.rows, [source.name for source in context.sources])
    assert len({found.group for found in look.values()}) <= MOST_GROUPS
    (chart,) = fronts(context, look)
    drawn = marks_of(chart)
    assert len(drawn) == MOST_POINTS
    assert all(row.anchor in drawn for row in context.rows if row.kind != "healthy" or row.name == "run 0: healthy")


def test_of_very_many_networks_one_chart_of_a_kind_is_drawn(main_record: dict[str, Any]) -> None:
    """A page of a thousand runs must stay small, and quick to make: the number of charts does not grow."""
    some, more = (compare([build(main_record, str(n)) for n in range(count)]) for count in (34, 51))
    found = [charts(context) for context in (some, more)]
    assert [chart.name for chart in found[0].all] == [chart.name for chart in found[1].all]
    assert found[1].left_out > found[0].left_out
    names = [chart.name.rpartition("-")[0] for chart in found[0].all]
    assert len(names) == len(set(names))


def test_equal_costs_have_no_front(main_record: dict[str, Any]) -> None:
    record = sweep(main_record, 5)
    for variant in record["variants"]:
        for name in ("flops", "size"):
            if variant["kind"] != "healthy":
                variant["metrics"][name]["ratio"] = 1.0
    assert [chart.title for chart in front(record)] == ["top1 against latency(batch=64)"]


def test_groups_have_looks_that_differ_in_more_than_colour(main_record: dict[str, Any]) -> None:
    context = build(sweep(main_record, 60))
    found = looks(context.rows, ["run"])
    assert len({look.group for look in found.values()}) == 5  # a=0, a=1, a=2, healthy, control
    assert len({look.shape for look in found.values()}) == 5
