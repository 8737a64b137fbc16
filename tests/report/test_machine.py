"""What commands print as JSON: as its schema says, every network, one key for the format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from recipelang import paths
from recipelang.errors import Diagnostic
from recipelang.report.context import build, compare
from recipelang.report.machine import comparison_json, record_json, run_json, schemas


@pytest.mark.parametrize("name", list(schemas()))
def test_the_published_schemas_are_those_of_the_classes(name: str) -> None:
    published = json.loads((paths.reports() / name).read_text("utf-8"))
    assert published == schemas()[name]
    jsonschema.Draft202012Validator.check_schema(published)


def test_a_comparison_has_every_network_and_number(main_record: dict[str, Any], study_record: dict[str, Any]) -> None:
    context = compare([build(main_record, "a"), build(study_record, "b")])
    told = json.loads(comparison_json(context, [Path("report.md")]))
    jsonschema.validate(told, schemas()["compare.schema.json"])
    assert told["format"] == "recipelang.compare/1" and told["runs"] == ["a", "b"] and told["files"] == ["report.md"]
    assert len(told["networks"]) == len(main_record["variants"]) + len(study_record["variants"])
    main = next(n for n in told["networks"] if (n["run"], n["name"]) == ("a", "main"))
    assert (
        main["goes_on"] and main["metrics"]["top1"]["value"] == main_record["variants"][1]["metrics"]["top1"]["value"]
    )
    assert sum(n["error"] is not None for n in told["networks"]) == 3


def test_a_run_holds_its_record(main_record: dict[str, Any]) -> None:
    main_record["variants"][1]["runs"][0]["steps"][3]["history"][0]["loss"] = float("nan")
    wrong = Diagnostic("RCP0903", "no variant can be chosen", None)
    text = run_json(main_record, exit_code=3, folder=Path("runs/x-1"), files=[], diagnostics=[wrong])
    told = json.loads(text)
    assert "NaN" not in text
    jsonschema.validate(told, schemas()["run.schema.json"])
    assert (told["format"], told["exit_code"], told["folder"]) == ("recipelang.run/1", 3, str(Path("runs/x-1")))
    assert told["diagnostics"][0]["code"] == "RCP0903"
    assert json.loads(record_json(build(main_record))) == told["report"]
