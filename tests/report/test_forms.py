"""Every form of a report × everything that a record may hold: nothing breaks the form, and no network is lost."""

from __future__ import annotations

import copy
import csv
import html
import html.parser
import importlib
import io
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from recipelang import catalogue, paths
from recipelang.check import check
from recipelang.cli import main
from recipelang.commands.results import FORMS
from recipelang.errors import Refusal, SettingError
from recipelang.methods.reports.model_card import ModelCardReport
from recipelang.plan import Reported, steps_of
from recipelang.report import templates
from recipelang.report.chart import Charts
from recipelang.report.context import ReportContext, build, compare
from recipelang.report.flat import LAYERS, NUMBERS, STEPS
from recipelang.report.forms import SHORT, made
from recipelang.report.latex import broken, latex
from recipelang.report.machine import schemas
from recipelang.report.render import write
from recipelang.report.templates import filled
from recipelang.syntax.parse import parse

GOLDEN = Path(__file__).parent / "golden"
KINDS = catalogue.names("report")
GOLDEN_FORMS = [name for name in KINDS if name not in ("html", "markdown")]  # the page has its own tests


def texts(context: ReportContext, form: Any) -> dict[str, str]:
    """The files of a form, without its charts, which have tests of their own."""
    card = made(form)
    files = {card.file: card.template, **getattr(card, "beside", {})}
    return {name: filled(card, template, context, Charts()) for name, template in files.items()}


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
        assert form == "html" or re.search(r"6 min 18 s|378\.49", whole), form


# -- what a record may hold --------------------------------------------------------------------------


def planted(text: str) -> Callable[[dict[str, Any], Any], ReportContext]:
    """Every free text of a record ends with this one."""
    return lambda record, change: build(change(record, lambda old: old + text))


def named(name: str) -> Callable[[dict[str, Any], Any], ReportContext]:
    """The variant has this name."""

    def changed(record: dict[str, Any], change: Any) -> ReportContext:
        record["variants"][1]["name"] = name
        record["variants"][2]["control_of"] = [name]
        return build(record)

    return changed


def one_class(record: dict[str, Any], change: Any) -> ReportContext:
    for variant in record["variants"]:
        variant["metrics"]["top1"] |= {"value": 1.0, "low": 1.0, "high": 1.0, "difference": 0.0, "noise": True}
    return build(record)


def no_test_split(record: dict[str, Any], change: Any) -> ReportContext:
    record["metrics"][1] |= {"name": "top1 on val", "split": "val"}
    for variant in record["variants"]:
        variant["metrics"]["top1 on val"] = variant["metrics"].pop("top1")
    return build(record)


def no_metrics(record: dict[str, Any], change: Any) -> ReportContext:
    record["metrics"] = []
    for variant in record["variants"]:
        variant["metrics"] = {}
    return build(record)


def nothing_in_common(record: dict[str, Any], change: Any) -> ReportContext:
    other = copy.deepcopy(record)
    other["metrics"] = [{"name": "psnr", "unit": "dB", "role": "quality", "better": "higher", "split": "test"}]
    for variant in other["variants"]:
        variant["metrics"] = {"psnr": {"value": 30.0, "unit": "dB"}}
    return compare([build(record, "a"), build(other, "b")])


def all_failed(record: dict[str, Any], change: Any) -> ReportContext:
    for variant in record["variants"][1:]:
        variant |= {"metrics": {}, "layers": [], "error": {"message": "the loss is NaN", "code": "RCP0805", "line": 6}}
    return build(record)


def only_healthy(record: dict[str, Any], change: Any) -> ReportContext:
    record["variants"] = record["variants"][:1]
    return build(record)


def not_finite(record: dict[str, Any], change: Any) -> ReportContext:
    for measured in record["variants"][1]["metrics"].values():
        measured |= {"value": float("nan"), "ratio": float("inf"), "difference": float("-inf")}
    return build(record)


def least(record: dict[str, Any], change: Any) -> ReportContext:
    """The fields without which there is no record."""
    variants = [{"name": v["name"], "kind": v["kind"]} for v in record["variants"]]
    kept = {"format": record["format"], "title": "", "recipe": {"path": "", "text": ""}}
    return build({**kept, "metrics": [], "variants": variants})


def many(record: dict[str, Any], change: Any) -> ReportContext:
    variant = record["variants"][1] | {"runs": [], "layers": []}
    record["variants"] += [variant | {"name": f"v{i}", "goes_on": False} for i in range(1000)]
    record["variants"][1]["goes_on"] = True
    return build(record)


def seeds_that_differ_in_number(record: dict[str, Any], change: Any) -> ReportContext:
    run = record["variants"][1]["runs"][0]
    record["variants"][1]["runs"] = [run | {"seed": seed} for seed in range(3)]
    record["variants"][1]["runs"][2] = run | {"seed": 2, "metrics": {}, "steps": run["steps"][:3]}
    return build(record)


INPUTS: dict[str, Callable[[dict[str, Any], Any], ReportContext]] = {
    "bars": planted("a|b `|` \\|"),
    "script": planted("<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"),
    "newlines": planted("\n\n# no heading\r\n- no item\n---\nbase_model: no/key\n"),
    "right to left": planted("\u202eabc\u202c\u200f\u2066x\u2069"),
    "latex": planted(r"\input{/etc/passwd} 100% $x$ {a_b^c} ~ \end{tabular} & # \\ [2em] * -- ?` ^^5c"),
    "yaml": planted("': \"{[- &a *a !!python/object:os.system %TAG @ ` # no"),
    "formula": planted("=1+1"),
    "letters": planted("é ß 中文 عربى 😀 e\u0301 \x00\x1b[31m \ud800"),
    "thousand letters": named("x" * 1000),
    "a formula as name": named("=HYPERLINK(1)"),
    "a long name in words": named("criterion=imprint, budget=0.5, " * 6 + "end"),
    "an empty name": named(""),
    "one class": one_class,
    "no test split": no_test_split,
    "no metrics": no_metrics,
    "nothing in common": nothing_in_common,
    "all failed": all_failed,
    "only healthy": only_healthy,
    "not finite": not_finite,
    "least": least,
    "many": many,
    "seeds that differ in number": seeds_that_differ_in_number,
}


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
    for (name, text), header in zip(files.items(), (NUMBERS, STEPS, LAYERS), strict=True):
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


def test_a_plug_in_has_its_template_beside_it(
    main_record: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "their_forms.py").write_text(
        "from dataclasses import dataclass\n"
        "from recipelang.catalogue import method\n"
        '@method("report", "names")\n'
        "@dataclass(frozen=True)\n"
        "class Names:\n"
        '    """Names of networks."""\n'
        '    file = "names.txt"\n'
        '    template = "names.txt.j2"\n'
        '    charts = ""\n'
    )
    (tmp_path / "names.txt.j2").write_text("{% for row in context.rows %}{{ row.name }};{% endfor %}")
    monkeypatch.syspath_prepend(tmp_path)
    theirs = importlib.import_module("their_forms").Names()
    assert texts(build(main_record), theirs) == {"names.txt": "healthy;main;control;"}


# -- what readers of the forms read ------------------------------------------------------------------


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
    main_record["variants"][1]["runs"][0]["steps"].append({"verb": "quantize", "text": "quantize to 8 bits"})
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


# -- LaTeX -------------------------------------------------------------------------------------------


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
def test_text_in_latex_is_ascii_without_live_commands(text: str) -> None:
    for shown in (latex(text), broken(text)):
        assert shown.isascii() and "\n" not in shown
        bare = re.sub(r"\\[{}]", "", shown)
        assert bare.count("{") == bare.count("}")
        commands = set(re.findall(r"\\([A-Za-z]+)", shown))
        assert not commands & {"input", "end", "begin", "write", "def", "catcode", "include", "csname"}
        assert not re.search(r"(?<!\\)[&#%_]", re.sub(r"\\.", "", shown))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a_b & 5% {x}", r"a\_b \& 5\% \{x\}"),
        ("−0.4 … +0.2 ≈ 0.68×", r"$-$0.4 \ldots{} +0.2 $\approx$ 0.68$\times$"),
        ("0.67–0.69", "0.67--0.69"),
        ("--fail-if", "-{}-fail-if"),
        ("é ñ ß ø", r"\'{e} \~{n} \ss{} \o{}"),
        ("e\u0301", r"\'{e}"),
        ("中", r"\texttt{U+4E2D}"),
        ("a\n b", "a b"),
        ("''", "'{}'"),
    ],
)
def test_text_in_latex(text: str, shown: str) -> None:
    assert latex(text) == shown


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="pdflatex is not installed")
@pytest.mark.parametrize("held", ["latex", "letters", "bars", "a long name in words", "thousand letters"])
def test_the_tables_compile_with_booktabs_alone(
    held: str, main_record: dict[str, Any], texts_changed: Any, tmp_path: Path
) -> None:
    (tmp_path / "report.tex").write_text(texts(INPUTS[held](main_record, texts_changed), "latex")["report.tex"])
    lines = (r"\documentclass{article}", r"\usepackage{booktabs}", r"\begin{document}", r"\input{report}")
    (tmp_path / "paper.tex").write_text("\n".join((*lines, r"\end{document}")))
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stdout[-2000:].decode(errors="replace")
    assert (tmp_path / "paper.pdf").stat().st_size > 10_000
