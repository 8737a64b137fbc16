"""The comparison: numbers in words, noise, control, dominated networks, several runs side by side."""

from __future__ import annotations

import copy
import io
import json
import math
import re
import statistics
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from recipelang.report import words
from recipelang.report.context import ReportContext, build, compare, table
from recipelang.report.record import Measured, Metric
from recipelang.report.render import render
from recipelang.report.terminal import print_table

COST = Metric("latency", "s", "cost", "lower")
QUALITY = Metric("top1", "%", "quality", "higher")
LOSS = Metric("loss", "", "quality", "lower")
NUMBERS = st.floats(1e-9, 1e12)


def row(context: ReportContext, name: str) -> Any:
    return next(r for r in context.rows if r.name == name)


@pytest.mark.parametrize(
    ("metric", "measured", "text"),
    [
        (COST, Measured(0.02, ratio=0.684, ratio_low=0.675, ratio_high=0.694, noise=False), "0.68× (0.68–0.69)"),
        (COST, Measured(0.02, ratio=0.7034, noise=False), "0.703×"),
        (COST, Measured(0.02, ratio=1.002, ratio_low=0.99, ratio_high=1.01, noise=True), "1.00× (0.99–1.01) ≈"),
        (QUALITY, Measured(0.9, difference=-0.004, difference_low=-0.010, difference_high=0.002, noise=True),
         "−0.4 points (−1.0 … +0.2) ≈"),
        (QUALITY, Measured(0.9, difference=-0.04, difference_low=-0.05, difference_high=-0.03, noise=False),
         "−4.0 points (−5.0 … −3.0)"),
        (LOSS, Measured(0.3, difference=0.0123, noise=None), "+0.0123"),
    ],
)  # fmt: skip
def test_changes_in_words(metric: Metric, measured: Measured, text: str) -> None:
    change = words.against_healthy(measured, metric)
    assert change is not None
    assert str(change) == text


@pytest.mark.parametrize(
    ("metric", "ratio", "difference", "noise", "tone"),
    [
        (COST, 0.7, None, False, "better"),
        (COST, 1.3, None, False, "worse"),
        (COST, 0.99, None, True, "same"),
        (QUALITY, None, 0.02, False, "better"),
        (QUALITY, None, -0.02, False, "worse"),
        (QUALITY, None, -0.02, True, "same"),
        (LOSS, None, -0.02, False, "better"),
    ],
)
def test_tones(metric: Metric, ratio: float | None, difference: float | None, noise: bool, tone: str) -> None:
    change = words.against_healthy(Measured(1.0, ratio=ratio, difference=difference, noise=noise), metric)
    assert change is not None and change.tone == tone


def test_no_claim_about_noise_without_an_interval() -> None:
    change = words.against(Measured(0.90), Measured(0.90001), QUALITY)
    assert change is not None and not change.noise


def test_against_the_control_half_widths_add_in_squares() -> None:
    change = words.against(Measured(0.90, 0.87, 0.93), Measured(0.91, 0.87, 0.95), QUALITY)
    assert change is not None
    half = 100 * math.hypot(0.03, 0.04)
    assert change.text == "−1.0 points"
    assert change.interval == f"−{1 + half:.1f} … +{half - 1:.1f}"
    assert change.noise


def test_times_are_held_against_the_control_through_healthy() -> None:
    slow_minute = Measured(0.30, ratio=0.6, ratio_low=0.59, ratio_high=0.61)
    change = words.against(slow_minute, Measured(0.31, ratio=1.0, ratio_low=1.0, ratio_high=1.0), COST)
    assert change is not None and str(change) == "0.60× (0.59–0.61)"


def test_a_clock_that_drifted_is_explained(main_record: dict[str, Any]) -> None:
    assert "×" not in dict(build(main_record).legend)
    main_record["variants"][1]["metrics"]["latency(batch=64)"]["value"] *= 1.2
    assert "×" in dict(build(main_record).legend)


def test_what_a_number_speaks_of_is_told_once_and_by_name_where_it_differs(main_record: dict[str, Any]) -> None:
    assert build(main_record).notes == ()
    for variant in main_record["variants"]:
        variant["metrics"]["flops"]["note"] = "not counted: mine::scale"
        variant["metrics"]["latency(batch=64)"]["note"] = f"of {variant['name']}"
    context = build(main_record)
    names = [r.name for r in context.rows]
    assert dict(context.notes) == {
        "flops": "not counted: mine::scale",
        "latency(batch=64)": "; ".join(f"of {name} ({name})" for name in names),
    }
    markdown = render(context, "markdown")["report.md"]
    assert "**flops**: not counted: mine::scale." in markdown


@given(NUMBERS, NUMBERS, st.sampled_from(["s", "B", "%", "FLOPs", "params", "x", ""]))
def test_two_values_share_their_unit(first: float, second: float, unit: str) -> None:
    low, high = sorted((first, second))
    text = words.together(low, high, unit, "–")
    left, glue, right = text.partition("–")
    shown, name = re.fullmatch(r"([0-9.]+)(?: ?([^0-9]+))?", right).groups()  # type: ignore[union-attr]
    factor = float(shown) / high
    # The unit stands at the end once, and both numbers are scaled by it alike (to the digits shown).
    assert glue and re.fullmatch("[0-9.]+", left) and (name or unit in ("", "FLOPs", "params"))
    digits = len(left.partition(".")[2])
    assert float(left) == pytest.approx(low * factor, abs=10.0**-digits + 0.01 * float(shown))


@given(st.floats(-1e6, 1e6), st.integers(0, 6))
def test_numbers_never_say_minus_zero(value: float, digits: int) -> None:
    text = words.number(value, digits)
    assert float(text.replace("−", "-")) == round(value, digits)
    assert not (text.startswith("−") and float(text.replace("−", "-")) == 0)


@given(st.lists(st.floats(0.001, 1.0), min_size=2, max_size=9))
def test_spread_is_mean_and_standard_deviation(values: list[float]) -> None:
    text = words.spread(values, QUALITY).replace(" %", "")
    mean, _, deviation = text.partition(" ± ")
    assert float(mean) == pytest.approx(100 * statistics.fmean(values), abs=0.006)
    if deviation:
        assert float(deviation) == pytest.approx(100 * statistics.stdev(values), abs=0.006)


def test_summary_says_what_was_achieved(main_record: dict[str, Any]) -> None:
    ((name, sentence),) = build(main_record).sentences
    assert name == "main"
    assert sentence.startswith("latency(batch=64) 0.68 of healthy (0.67–0.69), top1 −0.4 points (within the noise)")
    assert sentence.endswith("against its control top1 −0.6 points (within the noise)")


def test_a_failed_variant_says_why(study_record: dict[str, Any]) -> None:
    study_record["variants"] = study_record["variants"][:4]
    sentences = dict(build(study_record).sentences)
    assert sentences["criterion=imprint, budget=0.2"].startswith("failed at line 6: latency(batch=64) < 0.2 is out of")


def test_seeds_show_mean_and_deviation(study_record: dict[str, Any]) -> None:
    found = row(build(study_record), "criterion=imprint, budget=0.8")
    values = [run["metrics"]["top1"]["value"] for run in study_record["variants"][1]["runs"]]
    assert found.seeds == 3
    assert found.cells[1].value == f"{100 * statistics.fmean(values):.2f} ± {100 * statistics.stdev(values):.2f} %"


def two(record: dict[str, Any], **metrics: tuple[float, float, float]) -> dict[str, Any]:
    """The record with `main` and a second variant of these metrics: (value, low, high)."""
    import copy

    other = copy.deepcopy(record["variants"][1])
    other["name"] = "other"
    for name, (value, low, high) in metrics.items():
        measured = next(m for key, m in other["metrics"].items() if key.startswith(name))
        if measured["ratio"] is not None:
            scale = measured["healthy"]
            measured |= {"ratio": value / scale, "ratio_low": low / scale, "ratio_high": high / scale}
        measured |= {"value": value, "low": low, "high": high}
    record["variants"].append(other)
    return record


def test_a_network_that_is_worse_in_everything_is_dominated(main_record: dict[str, Any]) -> None:
    context = build(two(main_record, latency=(0.025, 0.0248, 0.0252), top1=(0.89, 0.88, 0.90)))
    assert row(context, "other").dominated == ("main",)
    assert row(context, "main").dominated == ()


def test_clocks_agree_where_their_intervals_meet(main_record: dict[str, Any]) -> None:
    context = build(two(main_record, latency=(0.0212, 0.0210, 0.0214), top1=(0.85, 0.84, 0.86)))
    assert row(context, "other").dominated == ("main",)


def test_a_network_that_is_better_in_something_is_not_dominated(main_record: dict[str, Any]) -> None:
    context = build(two(main_record, latency=(0.015, 0.0148, 0.0152), top1=(0.85, 0.84, 0.86)))
    assert row(context, "other").dominated == ()


def test_nobody_is_dominated_where_only_costs_were_measured(main_record: dict[str, Any]) -> None:
    main_record["metrics"] = [m for m in main_record["metrics"] if m["role"] == "cost"]
    context = build(two(main_record, latency=(0.030, 0.0298, 0.0302)))
    assert not any(r.dominated for r in context.rows)


def test_runs_side_by_side_keep_their_names_apart(main_record: dict[str, Any]) -> None:
    context = compare([build(main_record, "first"), build(main_record, "first")])
    assert [r.name for r in context.rows] == [
        "first: healthy", "first: main", "first: control",
        "first (2): healthy", "first (2): main", "first (2): control",
    ]  # fmt: skip
    assert context.rows[4].control == "first (2): control"
    assert {v.of for v in context.verdicts} == {"first: main", "first (2): main"}


def test_runs_on_different_machines_are_flagged(main_record: dict[str, Any], study_record: dict[str, Any]) -> None:
    study_record["environment"]["machine"] = "another"
    context = compare([build(main_record), build(study_record)])
    assert any("differ in `machine`" in warning for warning in context.warnings)
    assert dict(context.environment)["machine"][1] == "another"


def test_metrics_of_one_run_only_stay_empty_in_the_other(
    main_record: dict[str, Any], study_record: dict[str, Any]
) -> None:
    main_record["metrics"].append({"name": "top5", "unit": "%", "role": "quality", "better": "higher"})
    context = compare([build(main_record), build(study_record)])
    assert [m.name for m in context.metrics][-1] == "top5"
    assert all(cells[-1] == "–" for cells in table(context)[1:])


def went_on(record: dict[str, Any], stated: bool) -> dict[str, Any]:
    """The record with candidates `a` and `b`, of which `b` was chosen and `main` made from it, in that order."""
    for name in ("b", "a"):
        candidate = copy.deepcopy(record["variants"][1])
        record["variants"].insert(1, candidate | {"name": name, "chosen": name == "b"})
    if stated:
        for variant in record["variants"]:
            variant["goes_on"] = variant["name"] == "main"
            variant["origin"] = "b" if variant["name"] == "main" else ""
    return record


@pytest.mark.parametrize("stated", [True, False])
def test_the_headline_is_the_network_that_the_recipe_goes_on_with(main_record: dict[str, Any], stated: bool) -> None:
    context = build(went_on(main_record, stated))
    name = "main (from b)" if stated else "main"
    assert [title for title, _ in context.headline] == [name]
    assert [title for title, _ in context.sentences] == [name, "a", "b"]
    assert context.leading is not None and context.leading.name == "main"
    assert [line for line in render(context, "md")["report.md"].splitlines() if line.startswith("- **")][0].startswith(
        f"- **{name}:** latency"
    )
    page = render(context, "html")["report.html"]
    assert f'<p class="headline">{name}</p>' in page
    out = io.StringIO()
    print_table(context, Console(file=out))
    assert out.getvalue().startswith(f"{name}: latency")


def test_the_terminal_says_what_makes_runs_hard_to_compare(main_record: dict[str, Any]) -> None:
    other = json.loads(json.dumps(main_record))
    other["environment"]["data"] = "other images"
    out = io.StringIO()
    print_table(compare([build(main_record, "a"), build(other, "b")]), Console(file=out))
    assert "note: the runs differ in data: " in out.getvalue()
    out = io.StringIO()
    print_table(compare([build(main_record, "a"), build(main_record, "b")]), Console(file=out))
    assert "note:" not in out.getvalue()


def test_a_chosen_variant_that_nothing_follows_leads_by_its_name(main_record: dict[str, Any]) -> None:
    record = went_on(main_record, True)
    record["variants"] = [v for v in record["variants"] if v["name"] != "main"]
    for variant in record["variants"]:
        variant["goes_on"] = variant["name"] == "b"
    assert [title for title, _ in build(record).sentences] == ["b", "a"]


def test_a_comparison_leads_with_what_each_run_ended_with(main_record: dict[str, Any]) -> None:
    record = went_on(main_record, True)
    context = compare([build(record, "one"), build(record, "two")])
    assert [title for title, _ in context.headline] == ["one: main (from b)", "two: main (from b)"]
    assert [title for title, _ in context.sentences][:2] == ["one: main (from b)", "two: main (from b)"]


def test_against_its_control_a_record_that_pairs_them_is_believed(main_record: dict[str, Any]) -> None:
    measured = main_record["variants"][1]["metrics"]["top1"]
    stated = {"value": 0.9, "difference": -0.02, "difference_low": -0.03, "difference_high": -0.01, "noise": False}
    measured["control"] = stated
    context = build(main_record)
    cell = next(c for c in row(context, "main").cells if c.metric.name == "top1")
    assert str(cell.control) == "−2.0 points (−3.0 … −1.0)"
    assert context.unpaired  # the other columns of this record do not state it


def test_runs_of_different_days_and_the_same_machine_are_alike(main_record: dict[str, Any]) -> None:
    later = copy.deepcopy(main_record)
    main_record["environment"]["date"], later["environment"]["date"] = "2025-03-14 09:26 UTC", "2026-01-02 10:00 UTC"
    later["created"] = "2026-01-02T10:00:00+00:00"
    context = compare([build(main_record, "a"), build(later, "b")])
    assert not [warning for warning in context.warnings if "differ" in warning]
    assert dict(context.environment)["date"] == ("2025-03-14 09:26 UTC", "2026-01-02 10:00 UTC")


def test_other_data_is_a_difference_of_qualities(main_record: dict[str, Any]) -> None:
    other = copy.deepcopy(main_record)
    main_record["environment"]["data"], other["environment"]["data"] = "digits (1)", "cifar10 (2)"
    (warning,) = [w for w in compare([build(main_record, "a"), build(other, "b")]).warnings if "differ in" in w]
    assert warning.endswith("digits (1) and cifar10 (2); compare their qualities only with their own healthy")


def test_how_a_network_came_in_is_said_in_every_form(main_record: dict[str, Any]) -> None:
    """A replaced head is nothing to look for in the list of steps."""
    for variant in main_record["variants"]:
        variant["runs"][0]["steps"][0]["note"] = "its last layer `fc` gave 1000 outputs and is replaced"
    context = build(main_record)
    (arrival,) = context.arrivals
    assert arrival.endswith("`: its last layer `fc` gave 1000 outputs and is replaced")
    assert "> **Note.** " in render(context, "md")["report.md"]
    page = render(context, "html")["report.html"]
    assert page.index("and is replaced") < page.index('id="comparison"')
    out = io.StringIO()
    print_table(context, Console(file=out))
    assert "its last layer fc gave 1000 outputs and is replaced" in out.getvalue()
    both = compare([build(main_record, "a"), build(main_record, "b")])
    assert [text.partition(":")[0] for text in both.arrivals] == ["a", "b"]


def test_layers_that_never_run_read_as_such(main_record: dict[str, Any]) -> None:
    rows = [{"layer": f"l{i}", "executes": "never", "why": "takes no part in evaluation"} for i in range(2)]
    main_record["variants"][1]["layers"] = rows
    ((_, (group,)),) = build(main_record).layers
    assert group.sentence.startswith("2 layers never run: takes no part in evaluation")
