"""What reports say of layers: profiles and what became of every layer, as charts, as text and as CSV."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from typing import Any

import pytest

from recipelang.report.anatomy import anatomy, changed
from recipelang.report.chart import MOST_LINES, Chart
from recipelang.report.context import build
from recipelang.report.layered import LayerForm, LayerPair, LayerSeconds, LayerTime, Profile
from recipelang.report.plots import charts
from recipelang.report.profiles import MOST_LAYERS, Profiled, longest, profile_chart, profiled
from recipelang.report.render import render


def drawn(record: dict[str, Any], start: str) -> list[Chart]:
    return [chart for chart in charts(build(record)).in_group("layers") if chart.name.startswith(start)]


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_a_profile_says_what_every_layer_takes_and_what_healthys_took(layers_record: dict[str, Any]) -> None:
    smaller, fewer = drawn(layers_record, "profile-")
    assert (
        smaller.title == "Where the time is: profile" and "smaller, on torch, cpu, float32, batch 1" in smaller.caption
    )
    (told,) = layers_record["variants"][2]["profiles"]
    lines = {row[0]: row for row in fewer.text.rows}
    assert fewer.text.header == ("layer", "kind", "healthy", "time", "× of healthy", "share")
    gone = next(row for row in told["layers"] if row["own"] is None)
    assert lines[gone["layer"]][3:5] == ("–", "removed")
    shares = [float(row[5].removesuffix(" %")) for row in fewer.text.rows if row[5] != "–"]
    assert sum(shares) == pytest.approx(100, abs=0.1 * len(shares))
    assert "a call that nothing watches takes" in fewer.caption


def test_a_layer_that_is_computed_together_with_others_is_not_removed(layers_record: dict[str, Any]) -> None:
    """In one of the networks two layers are one operation: its row has both names, and neither layer is gone."""
    (told,) = layers_record["variants"][2]["profiles"]
    whole = {"seconds": 2e-6, "low": 1e-6, "high": 3e-6, "calls": 1}
    told["layers"] = [
        {"layer": "a", "kind": "Conv", "healthy": whole, "own": None},
        {"layer": "b", "kind": "Conv", "healthy": whole, "own": None},
        {"layer": "c", "kind": "Conv", "healthy": whole, "own": None},
        {"layer": "a + b", "kind": "Subgraph", "healthy": None, "own": whole},
    ]
    *_, chart = drawn(layers_record, "profile-")
    assert {row[0]: row[4] for row in chart.text.rows} == {"a": "–", "b": "–", "c": "removed", "a + b": "–"}


def test_healthy_alone_is_shown_where_there_is_nothing_else(layers_record: dict[str, Any]) -> None:
    layers_record["variants"] = layers_record["variants"][:1]
    for row in layers_record["variants"][0]["profiles"][0]["layers"]:
        row["healthy"] = None
    (chart,) = drawn(layers_record, "profile-")
    assert chart.text.header == ("layer", "kind", "time", "share")
    assert drawn(layers_record, "layers-") == []


def test_what_became_of_a_layer_is_told_before_and_after(layers_record: dict[str, Any]) -> None:
    smaller, fewer = drawn(layers_record, "layers-")
    pair = next(
        pair for pair in layers_record["variants"][1]["forms"] if pair["healthy"]["width"] != pair["own"]["width"]
    )
    line = next(row for row in smaller.text.rows if row[0] == pair["layer"])
    assert (
        line[1] == f"{pair['healthy']['width']} → {pair['own']['width']}"
        and line[3] == "0 % → 50 %"
        and line[4] == "32"
    )
    removed = [row for row in fewer.text.rows if row[1].endswith("→ removed")]
    assert len(removed) == 4 and "4 of 22 layers removed" in fewer.caption
    assert any(row[4] == "32 → 8" for row in fewer.text.rows) and fewer.text.header[-1] == "time"
    assert "bits of a weight" in fewer.svg and "bits of a weight" not in smaller.svg and "width (%)" in smaller.svg


def test_a_network_whose_layers_are_those_of_healthy_has_no_such_chart(layers_record: dict[str, Any]) -> None:
    context = build(layers_record)
    assert [row.name for row in changed(context.rows)] == ["smaller", "fewer"]


def test_all_forms_show_them_with_the_same_bytes_every_time(layers_record: dict[str, Any]) -> None:
    for form in ("markdown", "html", "csv"):
        files = render(build(layers_record), form)
        assert files == render(build(layers_record), form)
        whole = "".join(files.values())
        assert "layer1.2.conv1" in whole
        if form != "csv":
            assert "Where the time is" in whole and "Layers before and after" in whole


def test_tables_for_spreadsheets_have_every_layer(layers_record: dict[str, Any]) -> None:
    files = render(build(layers_record), "csv")
    (profile,) = layers_record["variants"][1]["profiles"]
    lines = [row for row in table(files["report-times.csv"]) if row["variant"] == "smaller"]
    assert [row["layer"] for row in lines] == [row["layer"] for row in profile["layers"]]
    assert [float(row["seconds"]) for row in lines] == [row["own"]["seconds"] for row in profile["layers"]]
    forms = {pair["layer"]: pair for pair in layers_record["variants"][2]["forms"]}
    lines = [row for row in table(files["report-layers.csv"]) if row["variant"] == "fewer" and row["layer"] in forms]
    assert {row["layer"] for row in lines} == set(forms)
    for row in lines:
        own = forms[row["layer"]]["own"]
        assert row["nonzero"] == ("" if own is None else str(own["nonzero"]))
        assert int(row["healthy_nonzero"]) == forms[row["layer"]]["healthy"]["nonzero"]


def test_records_without_them_have_no_such_chart(main_record: dict[str, Any]) -> None:
    assert drawn(main_record, "profile-") == drawn(main_record, "layers-") == []
    assert len(table(render(build(main_record), "csv")["report-times.csv"])) == 0


SECONDS = LayerSeconds(1e-3)


@pytest.mark.parametrize("most", [1, MOST_LAYERS, MOST_LINES])
def test_the_longest_layers_stay_in_their_order_and_the_others_are_summed(most: int) -> None:
    layers = [LayerTime(f"l{i}", "Conv2d", None, LayerSeconds(1e-6 * (1 + i % 7))) for i in range(200)]
    kept, rest = longest(layers, most)
    places = [int(layer.layer[1:]) for layer in kept]
    assert places == sorted(places) and len(kept) == most and f"{200 - most} others take" in rest
    assert longest(layers[:most], most) == (layers[:most], "")


@pytest.mark.parametrize(
    "layers",
    [
        [LayerTime("a", "", None, None)],
        [LayerTime("", "", LayerSeconds(0.0), LayerSeconds(0.0))],
        [LayerTime("a", "x" * 1000, LayerSeconds(1e100), LayerSeconds(-1.0))],
        [LayerTime("<script>|\n" * 100, "$x$", SECONDS, LayerSeconds(1e-100))] * 3,
        [LayerTime(f"l{i}", "Conv2d", SECONDS, SECONDS) for i in range(500)],
    ],
)
def test_any_profile_can_be_drawn(layers_record: dict[str, Any], layers: list[LayerTime]) -> None:
    (row, *_) = (row for row in build(layers_record).rows if row.kind == "variant")
    profile = Profile("profile", "here", tuple(layers))
    chart = profile_chart(Profiled(row, profile), 0)
    assert len(chart.text.rows) <= MOST_LINES and {len(line) for line in chart.text.rows} == {len(chart.text.header)}
    assert "<script>" not in chart.svg and len(chart.svg) < 200_000
    assert profiled([replace(row, variant=replace(row.variant, profiles=(replace(profile, layers=()),)))]) == ()


@pytest.mark.parametrize(
    "pairs",
    [
        [LayerPair("a", "Conv2d", None, LayerForm(0, 0, 0))],
        [LayerPair("a", "", LayerForm(1, 1, 1), None)],
        [LayerPair("<script>" * 50, "", LayerForm(1, 2**53, 5, 1e100), LayerForm(2**53, 0, -5, -1e100, 0.0, 1e100))],
        [LayerPair(f"l{i}", "Linear", LayerForm(8, 64, 64), LayerForm(4, 32, 9, 4)) for i in range(500)],
    ],
)
def test_any_layers_can_be_drawn(layers_record: dict[str, Any], pairs: list[LayerPair]) -> None:
    (row, *_) = (row for row in build(layers_record).rows if row.kind == "variant")
    chart = anatomy(replace(row, variant=replace(row.variant, forms=tuple(pairs))), 0)
    assert {len(line) for line in chart.text.rows} == {len(chart.text.header)} and len(chart.svg) < 300_000
    assert chart.text.more == max(0, len(pairs) - MOST_LINES) and "<script>" not in chart.svg


def test_a_layer_that_executes_in_several_ways_has_a_line_for_each(layers_record: dict[str, Any]) -> None:
    variant = layers_record["variants"][1]
    name = variant["forms"][0]["layer"]
    ways = [{"layer": name, "shape": [8, 8], "executes": how, "why": "", "on": on} for how, on in WAYS]
    variant["layers"] = ways
    lines = [row for row in table(render(build(layers_record), "csv")["report-layers.csv"]) if row["layer"] == name]
    mine = [row for row in lines if row["variant"] == variant["name"]]
    assert [(row["executes"], row["on"]) for row in mine] == WAYS
    assert len({row["healthy_nonzero"] for row in mine}) == 1


WAYS = [("dense", "torch, cpu, float32, batch 1"), ("int8", "onnxruntime, cpu, float32, batch 1")]
