"""Every form of a report × everything that a record may hold: nothing breaks the form, and no network is lost."""

from __future__ import annotations

import csv
import html
import html.parser
import importlib
import io
import json
import os
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from held import INPUTS, nothing_in_common, texts

from recipelang import catalogue, paths
from recipelang.cli import main
from recipelang.commands import results
from recipelang.commands.results import FORMS
from recipelang.errors import Refusal
from recipelang.report import templates
from recipelang.report.context import ReportContext, build
from recipelang.report.flat import LAYERS, NUMBERS, STEPS, TIMES
from recipelang.report.forms import SHORT, made
from recipelang.report.latex import latex
from recipelang.report.machine import schemas
from recipelang.report.render import write

GOLDEN = Path(__file__).parent / "golden"
KINDS = catalogue.names("report")
GOLDEN_FORMS = [name for name in KINDS if name not in ("html", "markdown")]  # the page has its own tests


# -- what there is -----------------------------------------------------------------------------------


def test_the_command_line_names_every_form() -> None:
    assert {SHORT.get(name, name) for name in FORMS} == set(KINDS)


@pytest.mark.parametrize("form", GOLDEN_FORMS)
@pytest.mark.parametrize("name", ["main", "study"])
def test_a_form_is_as_it_was(name: str, form: str, request: pytest.FixtureRequest) -> None:
    for file, text in texts(build(request.getfixturevalue(f"{name}_record")), form).items():
        golden = GOLDEN / f"{name}.{file}"
        if os.environ.get("RECIPELANG_GOLDEN") == "write":
            golden.write_text(text, "utf-8")
        assert text == golden.read_text("utf-8"), "run with RECIPELANG_GOLDEN=write and read the difference"


def test_every_form_says_the_same(study_record: dict[str, Any]) -> None:
    """The numbers, what is the best, what is dominated, what was reached, and what it cost."""
    context = build(study_record)
    for form in KINDS:
        whole = " ".join(texts(context, form).values())
        whole = whole.replace(r"\allowbreak{}", "").replace("&lt;", "<").replace(r"\textless{}", "<")
        assert "89.77" in whole or "0.897722" in whole, form
        assert "5 of 24 layers" in whole, form
        assert "out of reach" in whole, form
        assert re.search(r"6 min 18 s|378\.49", whole), form


# -- what a record may hold --------------------------------------------------------------------------


def cells(line: str) -> int:
    """How many cells a row of a GFM table has."""
    return len(re.split(r"(?<!\\)\|", line.strip().removeprefix("|").removesuffix("|")))


def one_line(text: str) -> str:
    return " ".join(text.split())


def holds_as_markdown(context: ReportContext, files: dict[str, str]) -> None:
    (text,) = files.values()
    outside = re.sub(r"(?ms)^(`{3,}).*?^\1$", "", text)
    blocks = re.findall(r"(?m)(?:^\|.*\n)+", outside)
    for block in blocks:
        rows = block.splitlines()
        assert len({cells(row) for row in rows}) == 1, rows
        assert re.fullmatch(r"\|(---\|)+", rows[1]), rows
    assert re.search(r"(?m)^# no heading", outside) is None
    code = re.sub(r"(?<!\\)(`+)(?:(?!\1).)+\1|<code>.*?</code>", "", outside)
    assert not re.search(r"<(?!/?(?:details|summary)>)[a-z!/]", code)
    shown = one_line(html.unescape(re.sub(r"\\([^\w\s])", r"\1", outside)))
    assert [row.name for row in context.shown if one_line(row.name) not in shown] == []


class _Page(html.parser.HTMLParser):
    """The text of a page, and its scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.scripts, self.images, self.inside = 0, 0, ""
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.inside = tag
        self.scripts += tag == "script"
        self.images += tag == "img"
        assert not any(name.startswith("on") for name, _ in attrs)

    def handle_data(self, data: str) -> None:
        if self.inside not in ("script", "style"):
            self.text.append(data)


def holds_as_html(context: ReportContext, files: dict[str, str]) -> None:
    (text,) = files.values()
    page = _Page()
    page.feed(text)
    assert page.scripts == 1 and page.images == 0
    shown = one_line("".join(page.text))
    assert [row.name for row in context.listed if one_line(row.name) not in shown] == []


def holds_as_csv(context: ReportContext, files: dict[str, str]) -> None:
    for (name, text), header in zip(files.items(), (NUMBERS, STEPS, LAYERS, TIMES), strict=True):
        lines = list(csv.reader(io.StringIO(text)))
        assert tuple(lines[0]) == header and {len(line) for line in lines} == {len(header)}, name
        assert not any(cell[:1] in ("=", "+", "@") for line in lines for cell in line), name
    told = {line["variant"].removeprefix("'") for line in csv.DictReader(io.StringIO(files["report.csv"]))}
    assert told == {row.variant.name for row in context.rows}


def holds_as_json(context: ReportContext, files: dict[str, str]) -> None:
    told = json.loads(files["comparison.json"], parse_constant=lambda text: pytest.fail(f"{text} is not JSON"))
    jsonschema.validate({**told, "networks": told["networks"][:9]}, schemas()["compare.schema.json"])
    assert [n["name"] for n in told["networks"]] == [row.variant.name for row in context.rows]


def holds_as_latex(context: ReportContext, files: dict[str, str]) -> None:
    (text,) = files.values()
    assert text.isascii()
    bare = text.replace(r"\\", "").replace(r"\{", "").replace(r"\}", "")
    assert bare.count("{") == bare.count("}")
    assert set(re.findall(r"\\usepackage\{(\w+)\}", text)) == {"booktabs"}
    assert len(re.findall(r"(?m)(?<!\\)%", text)) == 1, "the first line alone is a comment"
    allowed = {"table", "tabular"}
    assert set(re.findall(r"\\(?:begin|end)\{(\w+)\}", text)) <= allowed and r"\input{" not in text.split("\n", 1)[1]
    for columns, body in re.findall(r"\\begin\{tabular\}\{@\{\}(.*?)@\{\}\}\n(.*?)\\end\{tabular\}", text, re.S):
        count = len(re.sub(r"p\{[\d.]+\\textwidth\}", "p", columns))
        for line in re.findall(r"(?m)^(.*) \\tabularnewline$", body):
            spans = [int(span) - 1 for span in re.findall(r"\\multicolumn\{(\d+)\}", line)]
            assert len(re.findall(r"(?<!\\)&", line)) + 1 + sum(spans) == count, line
    shown = text.replace(r"\allowbreak{}", "")
    for row in context.shown:
        assert latex(row.name) in shown, row.name


def holds_as_model_card(context: ReportContext, files: dict[str, str]) -> None:
    (text,) = files.values()
    head, body = re.fullmatch(r"---\n(.*?\n)---\n(.*)", text, re.S).groups()  # type: ignore[union-attr]
    front = yaml.safe_load(head)
    assert front["library_name"] == "recipelang" and "base_model" not in front
    for entry in front.get("model-index", ()):
        assert isinstance(entry["name"], str)
        for result in entry["results"]:
            assert result["dataset"]["name"] and result["dataset"]["type"] and result["task"]["type"]
            assert all(isinstance(metric["value"], float) for metric in result["metrics"])
    holds_as_markdown(context, {"README.md": body})


HOLDS = {
    "markdown": holds_as_markdown,
    "html": holds_as_html,
    "csv": holds_as_csv,
    "json": holds_as_json,
    "latex": holds_as_latex,
    "model_card": holds_as_model_card,
}


def test_every_form_has_a_test_of_what_it_may_hold() -> None:
    assert set(HOLDS) == set(KINDS)


@pytest.mark.parametrize("held", list(INPUTS))
def test_every_form_holds_whatever_a_record_does(held: str, main_record: dict[str, Any], texts_changed: Any) -> None:
    context = INPUTS[held](main_record, texts_changed)
    for form, holds in HOLDS.items():
        holds(context, texts(context, form))


def test_runs_without_a_metric_in_common_are_told_apart(main_record: dict[str, Any]) -> None:
    warnings = nothing_in_common(main_record, None).warnings
    assert any("no metric in common" in warning for warning in warnings)


# -- what is not a record ----------------------------------------------------------------------------


def half_written(text: str) -> str:
    return text[: len(text) // 2]


NOT_RECORDS: dict[str, tuple[Callable[[str], str | None], str]] = {
    "another version": (lambda text: text.replace("recipelang.report/1", "recipelang.report/99"), "RCP1102"),
    "another form": (lambda text: text.replace("recipelang.report/1", "recipelang.compare/1"), "RCP1101"),
    "half written": (half_written, "RCP1101"),
    "empty": (lambda text: "", "RCP1101"),
    "a list": (lambda text: "[]", "RCP1101"),
    "no metrics": (lambda text: text.replace('"metrics"', '"matrics"'), "RCP1101"),
    "an interrupted run": (lambda text: None, "RCP1103"),
}


@pytest.mark.parametrize("wrong", list(NOT_RECORDS))
def test_what_is_not_a_record_is_refused_and_nothing_is_written(
    wrong: str, main_record: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change, code = NOT_RECORDS[wrong]
    good, bad = tmp_path / "good", tmp_path / "bad"
    for folder, text in ((good, json.dumps(main_record)), (bad, change(json.dumps(main_record)))):
        folder.mkdir()
        if text is not None:
            (folder / "report.json").write_text(text, "utf-8")
    for form in KINDS:
        for command in (["report", str(bad)], ["compare", str(good), str(bad)]):
            with pytest.raises(SystemExit) as ended:
                main([*command, "--to", form, "--out", str(tmp_path / "out")])
            said = capsys.readouterr()
            assert ended.value.code == 3 and code in said.err and said.out == "", said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("template", "line"),
    [("{{ context.titel }}", 1), ("\n{% for x in %}", 2), ("\n\n{{ 1 // 0 }}", 3), ("{{ none + 1 }}", 1), (None, None)],
)
def test_a_template_with_an_error_is_named_and_nothing_is_written(
    template: str | None, line: int | None, main_record: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "templates"
    shutil.copytree(paths.reports(), broken)
    monkeypatch.setattr(paths, "reports", lambda: broken)
    templates._environment.cache_clear()
    try:
        context = build(main_record)
        for form in KINDS:
            file = broken / made(form).template
            kept = file.read_bytes()
            file.unlink() if template is None else file.write_text(template, "utf-8")
            with pytest.raises(Refusal) as refused:
                texts(context, form)
            file.write_bytes(kept)
            assert refused.value.code == "RCP1132" and file.name in refused.value.message
            assert line is None or f"line {line}: " in refused.value.message
        (broken / made("csv").template).unlink()
        with pytest.raises(Refusal):
            write(context, ["json", "csv"], tmp_path / "out")
        assert not (tmp_path / "out").exists()
    finally:
        templates._environment.cache_clear()


def test_the_plug_in_of_the_guide_has_its_template_beside_it(
    main_record: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    guide = (Path(__file__).parents[2] / "docs" / "reports.md").read_text("utf-8")
    program, template = re.findall(r"```(?:python|text)\n(.*?)```", guide, re.S)[-2:]
    (tmp_path / "their_forms.py").write_text(program, "utf-8")
    (tmp_path / "names.txt.j2").write_text(template, "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    theirs = importlib.import_module("their_forms").Names()
    assert texts(build(main_record), theirs) == {"names.txt": "healthy\nmain\ncontrol\n"}


def test_layers_are_told_in_the_forms_for_programs(layers_record: dict[str, Any]) -> None:
    context = build(layers_record)
    files = texts(context, "csv")
    widths = [line for line in csv.DictReader(io.StringIO(files["report-layers.csv"])) if line["healthy_width"]]
    times = [line for line in csv.DictReader(io.StringIO(files["report-times.csv"])) if line["seconds"]]
    assert widths and times
    told = {network["name"]: network for network in json.loads(texts(context, "json")["comparison.json"])["networks"]}
    variant = next(v for v in layers_record["variants"] if v.get("profiles"))
    assert [form["layer"] for form in told[variant["name"]]["forms"]] == [f["layer"] for f in variant["forms"]]
    first = variant["profiles"][0]
    assert told[variant["name"]]["profiles"][0]["layers"][0]["layer"] == first["layers"][0]["layer"]
    assert {line["profile"] for line in times} >= {first["name"]}


def test_the_guide_shows_commands_that_can_be_typed() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "reports.md").read_text("utf-8")
    blocks = re.findall(r"```(?:sh|console)[^\n]*\n(.*?)```", guide, re.S)
    lines = [line.removeprefix("$ ") for block in blocks for line in block.splitlines() if line.startswith("$ recipe")]
    typed = [shlex.split(re.sub(r" > \w+\.md$", "", line), comments=True) for line in lines]
    for _, name, *rest in typed:
        command = {"report": results.report, "compare": results.compare}.get(name)
        if command is not None:
            asked = command.make_context(name, rest).params
            assert asked["forms"] or "--to" not in rest
    assert len(typed) >= 7
    assert all(f"| `{form}` |" in guide for form in FORMS)
