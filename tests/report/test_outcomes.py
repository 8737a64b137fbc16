"""What was asked for and reached, and what networks cost to make."""

from __future__ import annotations

import statistics
from dataclasses import replace
from typing import Any

import pytest

from recipelang.report import summary
from recipelang.report.context import build
from recipelang.report.record import Trouble


def test_every_statement_says_what_was_asked_and_reached(main_record: dict[str, Any]) -> None:
    found = build(main_record).outcomes
    prune = found[0]
    assert (prune.name, prune.line, prune.asked) == ("main", 6, "latency(batch=64) < 0.7")
    assert prune.reached == "0.684 (0.675–0.694), 8 of 24 layers removed; top1 65.12 %"
    assert next(o for o in found if o.text.startswith("sparsify")).why == "`conv1` has 3 input channels and stays dense"
    assert not any(o.text.startswith(("model", "data")) for o in found)


def test_a_step_that_failed_says_why(study_record: dict[str, Any]) -> None:
    failed = [o for o in build(study_record).outcomes if o.failed]
    assert [o.name for o in failed] == [f"criterion={c}, budget=0.2" for c in ("imprint", "magnitude", "random")]
    assert all(o.why.startswith("latency(batch=64) < 0.2 is out of reach") for o in failed)
    assert all(o.reached == "0.33" for o in failed)


def test_a_network_that_failed_before_its_first_step_is_told(main_record: dict[str, Any]) -> None:
    main_record["variants"][1] |= {"error": {"message": "no images", "line": 6}, "metrics": {}}
    main_record["variants"][1]["runs"] = [{"seed": 0, "steps": []}]
    (told,) = [o for o in build(main_record).outcomes if o.failed]
    assert (told.name, told.line, told.text, told.why) == ("main", 6, "", "no images")


def test_costs_are_those_of_the_record(main_record: dict[str, Any]) -> None:
    cost = {"seconds": 95, "epochs": 2.5, "passes": {"train": 12.25, "val": 3}, "joules": 3210.0, "at_least": True}
    main_record["variants"][1]["cost"] = cost | {"note": "what `sparsify` took is not known"}
    made = build(main_record).making
    assert made.header == ("time", "epochs", "passes over the data", "energy")
    (row,) = [row for row in made.rows if row.name == "main"]
    assert row.texts == ("≥ 1 min 35 s", "≥ 2.5", "≥ train 12, val 3", "≥ 3.21 kJ")
    assert row.note == "what `sparsify` took is not known"


def test_costs_of_older_records_are_those_of_their_steps(study_record: dict[str, Any]) -> None:
    made = build(study_record).making
    row = next(row for row in made.rows if row.name == "criterion=imprint, budget=0.8")
    runs = study_record["variants"][1]["runs"]
    assert row.cost.seconds == pytest.approx(statistics.fmean(sum(s["seconds"] for s in r["steps"]) for r in runs))
    assert row.cost.epochs == 2 and made.header == ("time", "epochs")


def test_what_made_healthy_does_not_count_for_the_others(main_record: dict[str, Any]) -> None:
    steps = main_record["variants"][1]["runs"][0]["steps"]
    healthy = main_record["variants"][0]["runs"][0]["steps"]
    assert [s["text"] for s in steps[: len(healthy)]] == [s["text"] for s in healthy]
    row = next(row for row in build(main_record).making.rows if row.name == "main")
    assert row.cost.seconds == pytest.approx(sum(s["seconds"] for s in steps[len(healthy) :]))


def test_where_nothing_is_known_there_is_no_table(main_record: dict[str, Any]) -> None:
    for variant in main_record["variants"]:
        variant["runs"] = []
    assert build(main_record).making.rows == ()
    assert build(main_record).outcomes == ()


def test_a_single_variant_is_not_counted(main_record: dict[str, Any]) -> None:
    rows = [row for row in build(main_record).rows if row.kind == "variant"][:1]
    failed = replace(rows[0], variant=replace(rows[0].variant, error=Trouble("it broke")))
    assert summary.overview(rows) == "The one variant reached its end."
    assert summary.overview([failed]) == "The one variant did not reach its end."
