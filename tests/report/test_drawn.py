"""Charts that are kept are those that would be drawn, and whatever they show is in their key."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recipelang.report import drawn
from recipelang.report.context import ReportContext, build
from recipelang.report.plots import charts
from recipelang.run import surroundings

RECORDS = ("main_record", "study_record", "layers_record")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RECIPELANG_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "charts"


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[ReportContext]:
    """The contexts that were drawn."""
    found: list[ReportContext] = []

    def draw(context: ReportContext) -> Any:
        found.append(context)
        return charts(context)

    monkeypatch.setattr(drawn, "charts", draw)
    return found


def test_kept_charts_are_those_that_would_be_drawn(request: pytest.FixtureRequest, counted: list[Any]) -> None:
    for number, name in enumerate(RECORDS, 1):
        context = build(request.getfixturevalue(name))
        wanted = charts(context)
        assert drawn.drawn(context) == wanted and len(counted) == number
        assert drawn.drawn(context) == wanted and len(counted) == number, "read, not drawn"


def later(record: dict[str, Any]) -> None:
    """The record of the same run, made again from the store."""
    record |= {"created": "2030-01-01T00:00:00+00:00", "command": "recipe run again", "warnings": ["new"]}
    record["environment"]["date"] = "another"
    for step in (step for v in record["variants"] for run in v["runs"] for step in run["steps"]):
        step |= {"seconds": None, "cached": True}


def test_a_rerun_draws_nothing(main_record: dict[str, Any], counted: list[Any]) -> None:
    drawn.drawn(build(main_record, "run"))
    later(main_record)
    drawn.drawn(build(main_record, "run"))
    assert len(counted) == 1


def test_the_folder_of_a_run_alone_draws_nothing_again(main_record: dict[str, Any], counted: list[Any]) -> None:
    wanted = drawn.drawn(build(main_record, "run-1"))
    assert drawn.drawn(build(main_record, "run-2")) == wanted and len(counted) == 1


CHANGES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "a metric": lambda r: r["variants"][1]["metrics"]["top1"].update(value=0.5),
    "an interval": lambda r: r["variants"][1]["metrics"]["top1"].update(low=0.1),
    "a name": lambda r: r["variants"][1].update(name="other"),
    "the title": lambda r: r.update(title="other"),
    "a network less": lambda r: r["variants"].pop(),
    "what goes on": lambda r: r["variants"][1].update(goes_on=False),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_a_chart_can_show_is_drawn_again(change: str, main_record: dict[str, Any], counted: list[Any]) -> None:
    before = copy.deepcopy(main_record)
    drawn.drawn(build(before, "run"))
    CHANGES[change](main_record)
    drawn.drawn(build(main_record, "run"))
    assert len(counted) == 2


def test_other_code_draws_again(
    main_record: dict[str, Any], counted: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    context = build(main_record)
    drawn.drawn(context)
    for name in ("code", "packages"):
        here = {**surroundings.surroundings(), name: "changed"}
        with monkeypatch.context() as patch:
            patch.setattr(surroundings, "surroundings", lambda here=here: here)
            drawn.drawn(context)
    assert len(counted) == 3


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"all": [{}], "left_out": 0}', b"\xff", b'{"all": 3}'])
def test_a_damaged_file_is_drawn_again(
    content: bytes, main_record: dict[str, Any], cache: Path, counted: list[Any]
) -> None:
    context = build(main_record)
    wanted = drawn.drawn(context)
    (file,) = cache.glob("*.json")
    file.write_bytes(content)
    assert drawn.drawn(context) == wanted and len(counted) == 2
    assert json.loads(file.read_text())["all"], "and written again"


def test_many_networks_are_drawn_without_naming_all_their_numbers(
    main_record: dict[str, Any], cache: Path, counted: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawn, "MOST_ROWS", 2)
    drawn.drawn(build(main_record))
    assert len(counted) == 1 and not cache.exists()
