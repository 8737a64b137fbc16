"""plan, run, report, compare, layers, doctor: the real thing on the embedded digits, a few batches per stage."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from recipelang.cli import main

FIXTURES = Path(__file__).parents[1] / "report" / "fixtures"
RECIPE = "let n = 1\nprune $n layers by random\nmeasure params, top1\nexpect params < 0.99\n"


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder, and so one store, for all: the embedded network is trained once."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "first.rcp").write_text(RECIPE)
    return folder


@pytest.fixture
def recipe(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):  # type: ignore[no-untyped-def]
    """Run a command in that folder."""
    monkeypatch.chdir(place)

    def command(*arguments: str) -> Ended:
        with pytest.raises(SystemExit) as left:
            main(arguments)
        said = capsys.readouterr()
        return Ended(int(left.value.code or 0), said.out, said.err)

    return command


def test_a_run_a_rerun_and_what_they_leave(recipe, place: Path) -> None:  # type: ignore[no-untyped-def]
    first = recipe("run", "first.rcp", "--smoke", "--out", "a")
    assert first.code == 0, first.err
    assert "prune 1 layers by random" in first.err
    table, files = first.out.split("a/report.md", 1)
    assert "healthy" in table
    assert "main" in table
    assert files.split() == ["a/report.html", "a/report.json"]
    assert (place / "a" / "recipe.rcp").read_text() == RECIPE
    assert json.loads((place / "a" / "report.json").read_text())["command"] == "recipe run first.rcp --smoke --out a"

    again = recipe("run", "first.rcp", "--smoke", "--out", "b")
    assert again.code == 0
    assert " 0 done" in again.err
    assert again.out.replace("b/", "a/") == first.out
    weights = "main/model.safetensors"
    assert (place / "a" / weights).read_bytes() == (place / "b" / weights).read_bytes()


def test_the_reports_of_a_run_are_written_again(recipe, place: Path) -> None:  # type: ignore[no-untyped-def]
    recipe("run", "first.rcp", "--smoke", "--out", "a")
    written = recipe("report", "a", "--to", "md", "--out", "elsewhere")
    assert written.code == 0
    assert "elsewhere/report.md" in written.out
    assert (place / "elsewhere" / "report.md").read_text() == (place / "a" / "report.md").read_text()
    assert recipe("report", "a", "--to", "docx").code == 2
    missing = recipe("report", "nowhere")
    assert missing.code == 3
    assert "no such file" in missing.err.lower()


def test_commands_about_runs_print_json_and_nothing_else(recipe, place: Path) -> None:  # type: ignore[no-untyped-def]
    done = recipe("run", "first.rcp", "--smoke", "--out", "a", "--json")
    told = json.loads(done.out)
    assert (done.code, told["format"], told["exit_code"], told["folder"]) == (0, "recipelang.run/1", 0, "a")
    assert told["files"] == ["a/report.md", "a/report.html", "a/report.json"]
    assert told["report"] == json.loads((place / "a" / "report.json").read_text())
    assert json.loads(recipe("report", "a", "--json").out) == told["report"]
    compared = json.loads(recipe("compare", "a", "a", "--json").out)
    assert compared["format"] == "recipelang.compare/1"
    assert [n["run"] for n in compared["networks"] if n["goes_on"]] == ["a", "a (2)"]
    assert json.loads(recipe("run", "first.rcp", "--dry-run", "--json").out)["format"] == "recipelang.plan/1"


def test_a_form_that_does_not_exist_is_wrong_usage(recipe, place: Path) -> None:  # type: ignore[no-untyped-def]
    (place / "told").mkdir()
    shutil.copyfile(FIXTURES / "main.json", place / "told" / "report.json")
    for command in (("compare", "told", "told"), ("report", "told")):
        told = recipe(*command, "--to", "md,pdf")
        assert told.code == 2 and "error[RCP1105]: there is no report form `pdf`" in told.err
    assert [file.name for file in (place / "told").iterdir()] == ["report.json"]


def test_runs_are_compared(recipe, place: Path) -> None:  # type: ignore[no-untyped-def]
    recipe("run", "first.rcp", "--smoke", "--out", "a")
    recipe("run", "first.rcp", "--smoke", "--out", "c", "--set", "n=3")
    compared = recipe("compare", "a", "c", "--to", "html", "--out", "both")
    assert compared.code == 0
    assert "a: main" in compared.out
    assert "c: main" in compared.out
    assert (place / "both" / "report.html").is_file()


def test_a_plan_says_what_is_left_to_do(recipe) -> None:  # type: ignore[no-untyped-def]
    recipe("run", "first.rcp", "--smoke", "--out", "a")
    assert recipe("plan", "first.rcp", "--smoke", "--detailed-exitcode").code == 0
    changed = recipe("plan", "first.rcp", "--smoke", "--detailed-exitcode", "--set", "n=4")
    assert changed.code == 5
    assert "prune 4 layers" in changed.out
    assert recipe("plan", "first.rcp", "--smoke", "--set", "n=4").code == 0


def test_a_dry_run_is_the_plan_and_does_nothing(recipe, place: Path) -> None:  # type: ignore[no-untyped-def]
    dry = recipe("run", "first.rcp", "--dry-run", "--out", "dry")
    assert dry.code == 0
    assert dry.out == recipe("plan", "first.rcp", "--out", "dry").out
    assert not (place / "dry").exists()


def test_options_change_the_plan(recipe) -> None:  # type: ignore[no-untyped-def]
    asked = ("--model", "resnet20", "--data", "digits", "--seeds", "3,4", "--json")
    plan = recipe("plan", "-e", "prune 1 layers by random; finetune for 1 epochs", *asked)
    assert plan.code == 0, plan.err
    assert "resnet20" in plan.out
    assert "seeds 3, 4" in plan.out
    assert json.loads(plan.out)["format"] == "recipelang.plan/1"
    control = recipe("plan", "-e", "prune 1 layers by random; finetune for 1 epochs", "--control")
    assert "control" in control.out


def test_an_expectation_that_is_missed(recipe) -> None:  # type: ignore[no-untyped-def]
    ended = recipe(
        "run", "-e", "prune 1 layers by random; measure params; expect params < 0.1", "--smoke", "--out", "d"
    )
    assert ended.code == 4
    assert "not met: `expect params < 0.1` (line 1, main): params 0." in ended.err
    assert "d/report.html" in ended.out


def test_a_budget_out_of_reach(recipe, place: Path) -> None:  # type: ignore[no-untyped-def]
    ended = recipe("run", "-e", "measure params; prune layers by random until params < 0.0001", "--smoke", "--out", "e")
    assert ended.code == 3
    assert "out of reach" in ended.err
    assert "<command line>:1:17" in ended.err
    assert "^^^^" in ended.err
    assert (place / "e" / "partial").is_dir()


def test_output_stays_in_its_folder(recipe, place: Path) -> None:  # type: ignore[no-untyped-def]
    text = 'prune 1 layers by random; measure params; report markdown to "../escaped"'
    refused = recipe("run", "-e", text, "--smoke", "--out", "f")
    assert refused.code == 1
    assert "<command line>:1:43" in refused.err
    assert not (place / "f").exists()
    allowed = recipe("run", "-e", text, "--smoke", "--out", "f", "--outside")
    assert allowed.code == 0
    assert (place / "escaped" / "report.md").is_file()


def test_an_output_folder_that_is_a_file(recipe, place: Path) -> None:  # type: ignore[no-untyped-def]
    (place / "taken").write_text("mine")
    ended = recipe("run", "first.rcp", "--smoke", "--out", "taken")
    assert ended.code == 3
    assert "`taken`" in ended.err
    assert (place / "taken").read_text() == "mine"


def test_gc_frees_what_no_run_uses(recipe, place: Path) -> None:  # type: ignore[no-untyped-def]
    recipe("run", "first.rcp", "--smoke", "--out", "a")
    would = recipe("gc", "--all", "--dry-run")
    assert would.code == 0
    assert "would free" in would.out
    assert any((place / ".recipe" / "store").rglob("manifest.json"))
    assert recipe("gc", "--all").out.startswith(".recipe: ")
    assert not any((place / ".recipe" / "store").rglob("manifest.json"))


def test_layers_of_a_model(recipe) -> None:  # type: ignore[no-untyped-def]
    shown = recipe("layers", "resnet20")
    assert shown.code == 0
    assert "layer1.0" in shown.out
    assert "residual" in shown.out
    assert "7 layers can be removed" in shown.err
    rows = json.loads(recipe("layers", "resnet20", "--json").out)["layers"]
    assert sum(bool(row["removable"]) for row in rows) == 7
    assert recipe("layers", "resnet21").code == 1
    assert recipe("layers", 'python("net.py:build")').code == 3


def test_doctor_sees_the_data_of_the_profile(recipe, place: Path) -> None:  # type: ignore[no-untyped-def]
    (place / "here").mkdir()
    (place / "there.yaml").write_text("data: {mine: here, gone: nowhere}\n")
    rows = {row["what"]: row for row in json.loads(recipe("doctor", "--profile", "there.yaml", "--json").out)["rows"]}
    assert rows["torch"]["value"]
    assert rows["data mine"]["verdict"] == "ok"
    assert rows["data gone"]["verdict"] == "missing"
    assert "data gone" in recipe("doctor", "--profile", "there.yaml").out


def test_an_interrupted_run_says_how_to_go_on(tmp_path: Path) -> None:
    arguments = ["run", "-e", "model digits_resnet; data digits; train for 900 epochs", "--out", "x"]
    process = subprocess.Popen(
        [sys.executable, "-m", "recipelang.cli", *arguments], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr
    process.stderr.readline()  # the first step is done: the run is under way
    process.send_signal(signal.SIGINT)
    said = process.stderr.read()
    process.stderr.close()
    assert process.wait() == 130
    assert "interrupted" in said
    assert "recipe run -e 'model digits_resnet; data digits; train for 900 epochs' --out x" in said
    assert "Traceback" not in said
