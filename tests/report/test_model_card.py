"""The model card: read by the Hub's own library, with settings from recipes and the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from held import texts

from recipelang.check import check
from recipelang.cli import main
from recipelang.errors import Refusal, SettingError
from recipelang.methods.reports.model_card import ModelCardReport
from recipelang.plan import Reported, steps_of
from recipelang.report.context import ReportContext, build, compare
from recipelang.report.render import write
from recipelang.syntax.parse import parse


def test_the_hub_reads_the_model_card(study_record: dict[str, Any], main_record: dict[str, Any]) -> None:
    hub = pytest.importorskip("huggingface_hub", reason="the Hub's own reader is not installed")
    form = ModelCardReport(base_model="owner/name", license="mit", model_name="A: net", dataset="cifar10")
    card = hub.ModelCard(texts(build(main_record), form)["README.md"])
    assert (card.data.base_model, card.data.license, card.data.datasets) == ("owner/name", "mit", ["cifar10"])
    assert card.data.base_model_relation == "finetune" and card.data.model_name == "A: net"
    found = {result.metric_name: result for result in card.data.eval_results}
    assert found["top1"].metric_value == main_record["variants"][1]["metrics"]["top1"]["value"]
    assert (found["top1"].metric_type, found["top1"].task_type) == ("accuracy", "image-classification")
    assert (found["top1"].dataset_name, found["top1"].dataset_split) == ("cifar10", "test")
    assert "model-index" in hub.ModelCard(texts(build(study_record), "model_card")["README.md"]).data.to_yaml()
    several = compare([build(main_record, "a"), build(study_record, "b")])
    names = [entry["name"] for entry in yaml.safe_load(front(several))["model-index"]]
    assert names == ["cifar10_resnet56: a: main", "criteria_and_budgets: b: criterion=imprint, budget=0.8"]


def front(context: ReportContext) -> str:
    return texts(context, "model_card")["README.md"].split("---\n")[1]


def test_a_quantized_network_is_related_as_such(main_record: dict[str, Any]) -> None:
    main_record["variants"][1]["runs"][0]["steps"].append(
        {"verb": "quantize", "text": "quantize to 8 bits", "asked": "8 bits"}
    )
    told = yaml.safe_load(texts(build(main_record), ModelCardReport(base_model="a/b"))["README.md"].split("---\n")[1])
    assert told["base_model_relation"] == "quantized" and "quantize" in told["tags"]


@pytest.mark.parametrize(
    ("settings", "field"),
    [({"base_model": "https://hub/a/b"}, "base_model"), ({"base_model": "a/b/c"}, "base_model"),
     ({"license": "MIT License"}, "license"), ({"dataset": "my data"}, "dataset")],
)  # fmt: skip
def test_names_that_the_hub_would_refuse_are_refused(settings: dict[str, str], field: str) -> None:
    with pytest.raises(SettingError) as refused:
        ModelCardReport(**settings)
    assert refused.value.field == field


def test_the_readme_of_a_project_is_not_overwritten(main_record: dict[str, Any], tmp_path: Path) -> None:
    context = build(main_record)
    (tmp_path / "README.md").write_text("# My project\n")
    with pytest.raises(Refusal) as refused:
        write(context, ["csv", "model_card"], tmp_path)
    assert refused.value.code == "RCP1133" and [p.name for p in tmp_path.iterdir()] == ["README.md"]
    (tmp_path / "README.md").unlink()
    write(context, ["model_card"], tmp_path)
    assert [path.name for path in write(context, ["model_card"], tmp_path)] == ["README.md", "report.json"]


def test_forms_with_settings_come_from_the_command_line_and_from_recipes(
    main_record: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "report.json").write_text(json.dumps(main_record), "utf-8")
    for forms, code, said in (
        ('csv, card(base_model="owner/name")', 0, ""),
        ('card(base_modl="owner/name")', 2, "did you mean `base_model`?"),
        ('card(base_model="owner name")', 2, "is not a name on the Hub"),
        ("card(", 2, "RCP01"),
        ("latex(3)", 2, "RCP0306"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(["report", str(tmp_path), "--to", forms, "--out", str(tmp_path / "out")])
        assert ended.value.code == code and said in capsys.readouterr().err, forms
    assert "base_model: owner/name\n" in (tmp_path / "out" / "README.md").read_text("utf-8")
    plan = check(parse('model digits_lenet\ndata digits\nprune layers by random until flops < 0.9\n'
                       'report model_card(base_model="owner/name")'))  # fmt: skip
    (effect,) = [e for step in steps_of(plan.nodes) if isinstance(e := step.operation.needs().writes, Reported)]
    assert effect.formats == (ModelCardReport(base_model="owner/name"),)
