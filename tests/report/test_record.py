"""report.json: what is read, what is refused, and that the published schema says the same."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recipelang import paths
from recipelang.errors import Refusal
from recipelang.kinds.figure import Figure, stored
from recipelang.report.context import build, compare, load
from recipelang.report.record import read, report_schema
from recipelang.report.render import render

VALUES = st.sampled_from(
    [None, True, 0, 1.5, -3, "", "x", [], ["x"], {}, {"value": 1}, {"value": "x"}, [None], "healthy"]
)
VALIDATOR = jsonschema.Draft202012Validator(report_schema())


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value inside a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [p for key, v in inner for p in ((*path, key), *places(v, (*path, key)))]


def test_the_published_schema_is_the_one_that_the_reader_follows() -> None:
    assert json.loads((paths.reports() / "report.schema.json").read_text("utf-8")) == report_schema()
    jsonschema.Draft202012Validator.check_schema(report_schema())


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_reader_and_schema_accept_the_same(main_record: dict[str, Any], data: st.DataObject) -> None:
    record = copy.deepcopy(main_record)
    for path in data.draw(st.lists(st.sampled_from(places(record)), min_size=1, max_size=3)):
        holder = record
        try:
            for key in path[:-1]:
                holder = holder[key]
            if data.draw(st.booleans()):
                holder[path[-1]] = data.draw(VALUES)
            else:
                del holder[path[-1]]
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change took the place away
    valid = VALIDATOR.is_valid(record)
    try:
        read(record)
    except Refusal as refusal:
        assert not valid, refusal.message
        assert refusal.code in ("RCP1101", "RCP1102")
    else:
        assert valid


@pytest.mark.parametrize("record", [None, 3, [], "x", {}])
def test_what_is_no_record_is_refused(record: Any) -> None:
    with pytest.raises(Refusal) as refused:
        build(record)
    assert refused.value.code == "RCP1101"


def test_a_refusal_names_the_place(main_record: dict[str, Any]) -> None:
    main_record["variants"][1]["metrics"]["top1"]["value"] = "high"
    with pytest.raises(Refusal) as refused:
        build(main_record)
    assert "variants[1].metrics['top1'].value" in refused.value.message
    assert "a number or null" in refused.value.message


def test_cost_layers_and_profile_are_read(layers_record: dict[str, Any]) -> None:
    VALIDATOR.validate(layers_record)
    smaller, fewer = read(layers_record).variants[1:]
    assert smaller.cost is not None and smaller.cost.epochs == 2.0 and smaller.cost.passes["train"] == 2.0
    last = next(step for step in smaller.runs[0].steps if step.history)
    assert last.history and last.history[-1].validation and last.history[-1].validation.n == 180
    removed = [pair for pair in fewer.forms if pair.own is None]
    assert removed and all(pair.healthy for pair in removed)
    (profile,) = fewer.profiles
    taken = sum(layer.own.seconds for layer in profile.layers if layer.own)
    assert profile.watched == pytest.approx(taken) and {layer.layer for layer in profile.layers} >= {""}


def test_a_record_without_them_is_read_as_before(layers_record: dict[str, Any]) -> None:
    for variant in layers_record["variants"]:
        for name in ("cost", "forms", "profiles"):
            del variant[name]
        for run in variant["runs"]:
            del run["cost"]
            for step in run["steps"]:
                del step["cost"], step["unvalidated"]
                for row in step["history"] or ():
                    del row["validation"], row["score"]
    VALIDATOR.validate(layers_record)
    first = read(layers_record).variants[1]
    assert (first.cost, first.forms, first.profiles) == (None, (), ())


def test_another_version_is_refused(main_record: dict[str, Any]) -> None:
    main_record["format"] = "recipelang.report/3"
    with pytest.raises(Refusal) as refused:
        build(main_record)
    assert refused.value.code == "RCP1102"


def page(record: dict[str, Any]) -> str:
    return render(build(record), "markdown")["report.md"]


def test_what_was_asked_and_reached_is_words_in_form_1_and_numbers_in_form_2(main_record: dict[str, Any]) -> None:
    before = page(copy.deepcopy(main_record))
    assert main_record["format"] == "recipelang.report/1" and "8 of 24 layers removed" in before
    main_record["format"] = "recipelang.report/2"
    (step,) = [s for s in main_record["variants"][1]["runs"][0]["steps"] if s["verb"] == "prune"]
    bound = Figure("latency(batch=64)", unit="x", operator="<", bound=0.7)
    found = replace(bound, value=0.684, low=0.675, high=0.694, joins=":")
    step["asked"] = stored([bound])
    step["reached"] = stored([Figure("removed", 8, noun="layer", of=24), found])
    main_record["expectations"][0] |= {"value": None, "figures": stored([found])}
    after = page(main_record)
    assert "`latency(batch=64) < 0.7×`" in after
    assert "8 of 24 layers removed: latency(batch=64) 0.684× (0.675× to 0.694×)" in after


def test_additions_of_a_later_recipelang_are_no_trouble(main_record: dict[str, Any]) -> None:
    main_record["variants"][0]["weather"] = "fair"
    assert build(main_record).rows[0].name == "healthy"


def test_a_loss_that_is_not_a_number_is_read_as_none(main_record: dict[str, Any]) -> None:
    main_record["variants"][1]["runs"][0]["steps"][3]["history"][0]["loss"] = float("nan")
    assert build(main_record).trainings[0].curves[0].points[0].loss is None


def test_text_is_made_safe_to_show(main_record: dict[str, Any]) -> None:
    main_record["title"] = "a\x1b[31mb\ud800c\u202ed\x85\n\t中é"
    assert build(main_record).title == "a␛[31mb�c�d�\n\t中é"


@pytest.mark.parametrize(("content", "code"), [(None, "RCP1103"), ("{", "RCP1101"), ("[" * 5000, "RCP1101")])
def test_a_folder_without_a_readable_record(tmp_path: Path, content: str | None, code: str) -> None:
    if content is not None:
        (tmp_path / "report.json").write_text(content)
    with pytest.raises(Refusal) as refused:
        load(tmp_path)
    assert refused.value.code == code


def test_comparing_nothing_is_refused() -> None:
    with pytest.raises(Refusal) as refused:
        compare([])
    assert refused.value.code == "RCP1104"
