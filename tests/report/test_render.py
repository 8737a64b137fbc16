"""Markdown, CSV, terminal and files."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from recipelang.errors import Refusal
from recipelang.report import escape
from recipelang.report.context import ReportContext, build, compare
from recipelang.report.render import render, write
from recipelang.report.terminal import print_table

GOLDEN = Path(__file__).parent / "golden"
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


def cells(line: str) -> list[str]:
    """The cells of a row of a GFM table, split as the specification does: at bars without a backslash."""
    return re.split(r"(?<!\\)\|", line.strip().removeprefix("|").removesuffix("|"))


def tables(markdown: str) -> list[list[list[str]]]:
    """The tables of a Markdown text outside of fences."""
    found: list[list[list[str]]] = [[]]
    for line in re.sub(r"(?ms)^(`{3,}).*?^\1$", "", markdown).splitlines():
        if line.startswith("|"):
            found[-1].append(cells(line))
        elif found[-1]:
            found.append([])
    return [t for t in found if t]


@pytest.mark.parametrize("name", ["main", "study"])
def test_markdown_is_as_it_was(name: str, request: pytest.FixtureRequest) -> None:
    text = render(build(request.getfixturevalue(f"{name}_record")), "markdown")["report.md"]
    golden = GOLDEN / f"{name}.md"
    if os.environ.get("RECIPELANG_GOLDEN") == "write":
        golden.write_text(text, "utf-8")
    assert text == golden.read_text("utf-8"), "run with RECIPELANG_GOLDEN=write and read the difference"


def test_markdown_names_pictures_that_are_there(main_record: dict[str, Any]) -> None:
    files = render(build(main_record), "md")
    named = set(re.findall(r"\]\((figures/[^)]+)\)", files["report.md"]))
    assert named and named == {name for name in files if name != "report.md"}


@pytest.mark.parametrize("plant", ["a|b `|` \\|", "<script>x</script>\n![x](y)", "```\n# **&lt;"])
def test_nothing_planted_breaks_a_table_or_becomes_markup(
    plant: str, main_record: dict[str, Any], texts_changed: Any
) -> None:
    text = render(build(texts_changed(main_record, lambda t: t + plant)), "md")["report.md"]
    plain = tables(render(build(main_record), "md")["report.md"])
    found = tables(text)
    assert [[len(r) for r in t] for t in found] == [[len(r) for r in t] for t in plain]
    outside = re.sub(r"(?ms)^(`{3,}).*?^\1$", "", text)
    outside = re.sub(r"(?<!\\)(`)([^`]+)\1", "", outside)
    assert "<script" not in outside
    assert not re.search(r"(?<!\\)!?\[x\\?\]\(y\)", outside)


@given(TEXT)
def test_escaped_text_has_no_live_markup(text: str) -> None:
    shown = escape.markdown(text)
    assert "\n" not in shown and "\r" not in shown
    assert not re.search(r"(?<!\\)(?:\\\\)*[|`*\[\]<>]", shown)


@given(TEXT)
def test_code_is_one_span_or_entities(text: str) -> None:
    shown = escape.code(text)
    if shown.startswith("<code>"):
        assert not set("<>|`\\*_[]\n") & set(shown.removeprefix("<code>").removesuffix("</code>"))
    elif shown:
        assert shown[0] == shown[-1] == "`" and "`" not in shown[1:-1] and "|" not in shown


@given(TEXT)
def test_a_fence_holds_its_text(text: str) -> None:
    first, *inside, last = escape.fence(text).split("\n")
    assert first == last and set(first) == {"`"}
    assert all(first not in line for line in inside)


def test_csv_has_every_number(study_record: dict[str, Any]) -> None:
    lines = list(csv.DictReader(io.StringIO(render(build(study_record), "csv")["report.csv"])))
    means = [line for line in lines if line["metric"] == "top1" and not line["seed"]]
    seeds = [line for line in lines if line["metric"] == "top1" and line["seed"]]
    assert (len(means), len(seeds)) == (8, 21)
    run = study_record["variants"][1]["runs"][2]
    found = next(
        line for line in seeds if (line["variant"], line["seed"]) == (study_record["variants"][1]["name"], "2")
    )
    assert float(found["value"]) == run["metrics"]["top1"]["value"]


def test_csv_starts_no_formula() -> None:
    assert escape.csv_line(["=1+1", "@x", -1.5, None, "a,b"]) == "'=1+1,'@x,-1.5,,\"a,b\""


@pytest.mark.parametrize("name", ["main", "study"])
def test_the_terminal_table_fits_and_is_plain_off_a_terminal(name: str, request: pytest.FixtureRequest) -> None:
    out = io.StringIO()
    print_table(build(request.getfixturevalue(f"{name}_record")), Console(file=out))
    text = out.getvalue()
    body = [line for line in text.splitlines() if not line.startswith("criterion=imprint, budget=0.2:")]
    assert "\x1b" not in text
    assert all(len(line.rstrip()) <= 100 for line in text.split("≈ within")[0].splitlines())
    assert any("0.68×" in line or "0.78×" in line for line in body)
    assert not re.search(r"\S…|…\S", text.split("≈ within")[0])  # no name is cut; intervals have theirs between spaces


def test_a_run_that_measured_nothing_is_shown(main_record: dict[str, Any]) -> None:
    main_record["metrics"] = []
    out = io.StringIO()
    print_table(build(main_record), Console(file=out))
    lines = [line.strip() for line in out.getvalue().splitlines()]
    assert "healthy" in lines and "main: nothing was measured against healthy" in lines


def test_markup_of_the_terminal_is_not_obeyed(main_record: dict[str, Any]) -> None:
    main_record["variants"][1]["name"] = "[red]main[/red]"
    out = io.StringIO()
    print_table(build(main_record), Console(file=out))
    assert "[red]main[/red]" in out.getvalue()


def test_the_files_of_a_report(main_record: dict[str, Any], tmp_path: Path) -> None:
    written = write(build(main_record), ["markdown", "html", "csv"], tmp_path / "new")
    tables = ["report.csv", "report-steps.csv", "report-layers.csv", "report-times.csv"]
    assert [p.name for p in written[:7]] == ["report.md", "report.html", *tables, "report.json"]
    assert json.loads((tmp_path / "new" / "report.json").read_text("utf-8")) == main_record
    assert all(p.is_file() for p in written)
    assert not [p for p in (tmp_path / "new").rglob("*") if p.name.endswith(".part")]


def test_a_written_record_is_json_for_everyone(main_record: dict[str, Any], tmp_path: Path) -> None:
    main_record["variants"][1]["runs"][0]["steps"][3]["history"][0]["loss"] = float("inf")
    write(build(main_record), [], tmp_path)
    assert "Infinity" not in (tmp_path / "report.json").read_text("utf-8")


def test_a_comparison_leaves_the_records_where_they_are(main_record: dict[str, Any], tmp_path: Path) -> None:
    both: ReportContext = compare([build(main_record, "a"), build(main_record, "b")])
    assert [p.name for p in write(both, ["html"], tmp_path)] == ["report.html"]


def test_an_unknown_form_is_refused_and_nothing_written(main_record: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(Refusal) as refused:
        write(build(main_record), ["markdown", "htlm"], tmp_path / "new")
    assert refused.value.code == "RCP1105" and "`html`" in refused.value.help
    assert not (tmp_path / "new").exists()


def test_same_record_same_bytes_in_another_process(main_record: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text(json.dumps(main_record), "utf-8")
    program = (
        "import hashlib, sys; from pathlib import Path\n"
        "from recipelang.report.context import load; from recipelang.report.render import render\n"
        "context = load(Path(sys.argv[1]))\n"
        "files = {k: v for form in ('markdown', 'html') for k, v in render(context, form).items()}\n"
        "print(hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest())\n"
        "assert 'torch' not in sys.modules\n"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", program, str(tmp_path)],
            capture_output=True, text=True, check=True, env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    ]  # fmt: skip
    assert runs[0] == runs[1] and len(runs[0]) == 65
