"""Records from strangers: whatever a report.json holds, it is drawn or refused in words."""

from __future__ import annotations

import copy
import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from recipelang.errors import Refusal
from recipelang.report import context as contexts
from recipelang.report.context import MOST_ROWS, ReportContext, build, compare, load
from recipelang.report.plots import charts
from recipelang.report.render import render
from recipelang.report.terminal import print_table

NUMBERS = [1e308, -1e308, 5e-324, float("inf"), float("nan"), -5, 0, -0.0, 10**400, 10**30, 1e16, -1e-9, 2.5]
TEXTS = ["inf", "nan", "", "x" * 100_000, "a\u202e", "\x00", "`|$\\", "\ud800", "dense", "%", "s", "healthy"]
OTHERS = [None, True, [], {}, [None], {"value": 1e308}]


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value inside a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [p for key, v in inner for p in ((*path, key), *places(v, (*path, key)))]


def mutated(record: dict[str, Any], data: st.DataObject) -> dict[str, Any]:
    """The record with some of its values replaced, mostly by others of their kind."""
    record = copy.deepcopy(record)
    for path in data.draw(st.lists(st.sampled_from(places(record)), min_size=1, max_size=8)):
        holder = record
        try:
            for key in path[:-1]:
                holder = holder[key]
            old = holder[path[-1]]
            alike = NUMBERS if isinstance(old, int | float) else TEXTS if isinstance(old, str) else OTHERS
            holder[path[-1]] = data.draw(st.sampled_from([*alike, *alike, *OTHERS, *NUMBERS, *TEXTS]))
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change took the place away
    return record


def shown(context: ReportContext) -> str:
    """What the terminal shows."""
    out = io.StringIO()
    print_table(context, Console(file=out))
    return out.getvalue()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_mutated_record_is_drawn_or_refused(main_record: dict[str, Any], data: st.DataObject) -> None:
    try:
        context = build(mutated(main_record, data))
        shown(compare([context, context]))
        for form in ("csv", "html"):
            render(context, form)
    except Refusal as refusal:
        assert refusal.code in ("RCP1101", "RCP1102") and len(refusal.message) < 400


@pytest.mark.parametrize("number", [1e308, -1e308, 5e-324, -1.0, 1e99])
def test_numbers_that_nobody_measured_are_drawn(main_record: dict[str, Any], number: float) -> None:
    def planted(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: v if k in ("line", "seed", "n", "epoch") else planted(v) for k, v in value.items()}
        if isinstance(value, list):
            return [planted(v) for v in value]
        return number if isinstance(value, float) else value

    context = build(planted(main_record))
    assert "healthy" in shown(context)
    assert all("nan" not in chart.svg.lower().replace("nano", "") for chart in charts(context).all)


def test_a_whole_number_of_four_hundred_digits_is_no_number(main_record: dict[str, Any]) -> None:
    main_record["variants"][1]["runs"][0]["seed"] = 10**400
    with pytest.raises(Refusal) as refused:
        build(main_record)
    assert "a number with too many digits" in refused.value.message


def test_names_of_a_megabyte_are_cut_wherever_they_are_shown(main_record: dict[str, Any], texts_changed: Any) -> None:
    long = "y" * 1_000_000
    variant = main_record["variants"][1]
    variant["layers"][0]["layer"] = long
    variant["runs"][0]["steps"][2]["ranking"][0]["layer"] = long
    variant["runs"][0]["steps"][2]["edits"] = [long]
    variant["name"] = long
    main_record["variants"][2]["control_of"] = [long]
    context = build(main_record)
    assert context.rows[1].control == "control"
    assert len(shown(context)) < 10_000
    for form in ("markdown", "html", "csv"):
        text = "".join(render(context, form).values())
        assert "y" * 150 not in text.replace("y" * 999, "") and len(text) < 400_000
    main_record["format"] = long
    with pytest.raises(Refusal) as refused:
        build(main_record)
    assert len(refused.value.message) < 400


def test_many_networks_are_counted_and_the_first_are_shown(main_record: dict[str, Any]) -> None:
    model = main_record["variants"][1] | {"runs": [], "layers": []}
    main_record["variants"] += [model | {"name": f"v{i}", "goes_on": False} for i in range(2000)]
    main_record["variants"][1]["goes_on"] = True
    context = build(main_record)
    assert len(context.rows) == 2003 and len(context.shown) == MOST_ROWS and context.more == 2003 - MOST_ROWS
    assert {"healthy", "main", "control"} <= {row.name for row in context.shown}
    assert f"{context.more} more networks" in shown(context)
    page = render(context, "html")["report.html"]
    assert all(f'id="row-v{i}"' in page for i in range(2000)) and len(page) < 5_000_000
    assert "60 of 2,003 networks are drawn" in page
    assert "v1999" in render(context, "csv")["report.csv"]


def test_a_hundred_thousand_layers_are_folded(main_record: dict[str, Any]) -> None:
    layer = main_record["variants"][1]["layers"][0]
    main_record["variants"][1]["layers"] = [layer | {"layer": f"l{i}", "why": f"reason {i}"} for i in range(100_000)]
    context = build(main_record)
    text = render(context, "markdown")["report.md"]
    assert len(text) < 100_000 and "in 99988 other ways" in text
    assert len(render(context, "html")["report.html"]) < 2_000_000


def test_values_nested_without_end_are_refused(main_record: dict[str, Any]) -> None:
    nested: Any = []
    for _ in range(900):
        nested = [nested]
    main_record["variants"][1]["runs"][0]["steps"][2]["edits"] = [{"deep": nested}]
    with pytest.raises(Refusal) as refused:
        build(main_record)
    assert refused.value.code == "RCP1101"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_no_report(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "report.json")
    with pytest.raises(Refusal) as refused:
        load(tmp_path)
    assert refused.value.code == "RCP1103"


def test_a_report_that_is_too_large_is_refused_unread(
    tmp_path: Path, main_record: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "report.json").write_text(json.dumps(main_record))
    monkeypatch.setattr(contexts, "LARGEST_FILE", 1000)
    with pytest.raises(Refusal) as refused:
        load(tmp_path)
    assert refused.value.code == "RCP1106"
