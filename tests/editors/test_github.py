"""The GitHub Action: its scripts do what its inputs say, and its notes are at the right lines."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent.parent
ACTION = ROOT / "editors" / "github"
TOLD: dict[str, Any] = yaml.safe_load((ACTION / "action.yml").read_text(encoding="utf-8"))
FIXTURES = ROOT / "tests" / "report" / "fixtures"

pytestmark = pytest.mark.skipif(
    subprocess.run(["bash", "-c", "shopt -s globstar"], capture_output=True).returncode != 0,
    reason="needs bash from version 4 on",
)


def script(name: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script of the action as a job would."""
    paths = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    job = {
        "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
        "GITHUB_PATH": str(folder / "path"),
        "RUNNER_TEMP": str(folder),
    }
    return subprocess.run(
        ["bash", str(ACTION / name)],
        cwd=folder,
        env={**os.environ, "PATH": paths, **job, **environment},
        capture_output=True,
        text=True,
    )


def notes(output: str) -> list[dict[str, str]]:
    """What GitHub makes of the output: the notes of the problem matcher, whose patterns match lines in a row."""
    (matcher,) = json.loads((ACTION / "matcher.json").read_text(encoding="utf-8"))["problemMatcher"]
    found, lines = [], output.split("\n")
    for at in range(len(lines)):
        note: dict[str, str] = {}
        for pattern, line in zip(matcher["pattern"], lines[at:], strict=False):
            match = re.search(pattern["regexp"], line)
            if not match:
                break
            note |= {key: match[group] for key, group in pattern.items() if key != "regexp"}
        else:
            found.append(note)
    return found


def test_a_mistake_becomes_a_note_at_its_line(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "my recipe.rcp").write_text("\nprune 1 layer by imprnt\n")
    (tmp_path / "right.rcp").write_text("prune 1 layer by imprint\n")
    done = script("check.sh", tmp_path)
    assert done.returncode == 1
    (note,) = notes(done.stdout)
    assert (note["file"], note["line"], note["column"]) == ("deep/er/my recipe.rcp", "2", "18")
    assert (note["severity"], note["code"]) == ("error", "RCP0202") and "imprnt" in note["message"]
    assert "right.rcp: ok" in done.stdout


def test_a_layout_that_differs_is_a_note_and_can_be_left_out(tmp_path: Path) -> None:
    (tmp_path / "a,b.rcp").write_text("prune   1 layer by imprint\n")
    done = script("check.sh", tmp_path)
    assert done.returncode == 1 and "::error file=a%2Cb.rcp,title=layout::" in done.stdout
    assert "-prune   1 layer" in done.stdout
    assert script("check.sh", tmp_path, INPUT_FORMAT="false").returncode == 0


def test_a_file_that_cannot_be_read_has_a_note_of_its_own(tmp_path: Path) -> None:
    """It has no line, so the matcher finds nothing."""
    (tmp_path / "a,b.rcp").write_bytes(b"\xff\xfe")
    (tmp_path / "right.rcp").write_text("prune 1 layer by imprint\n")
    done = script("check.sh", tmp_path, INPUT_FORMAT="false")
    assert done.returncode == 1 and notes(done.stdout) == []
    (note,) = re.findall(r"^::error (.*)$", done.stdout, re.MULTILINE)
    assert note.startswith("file=a%2Cb.rcp,title=unreadable::RCP1202: ") and "is not UTF-8 text" in note


def test_right_recipes_pass(tmp_path: Path) -> None:
    for name in ("one.rcp", "-e.rcp"):
        (tmp_path / name).write_text("prune 1 layer by imprint\n")
    done = script("check.sh", tmp_path, INPUT_FILES="*.rcp")
    assert (done.returncode, notes(done.stdout)) == (0, [])


@pytest.mark.parametrize(("files", "said"), [("none/*.rcp", "no recipe matches"), ("none.rcp", "none.rcp")])
def test_recipes_that_are_not_there_fail(tmp_path: Path, files: str, said: str) -> None:
    done = script("check.sh", tmp_path, INPUT_FILES=files)
    assert done.returncode != 0 and said in done.stdout


def test_what_a_recipe_contains_is_no_command_of_github(tmp_path: Path) -> None:
    (tmp_path / "a.rcp").write_text("# x\n::add-mask::secret\n")
    output = script("check.sh", tmp_path).stdout
    stopped = re.search(r"::stop-commands::(\w{32})\n(.*?)\n::\1::", output, re.DOTALL)
    assert stopped and "::add-mask::" in stopped[2]
    assert "::add-mask::" not in output.replace(stopped[0], "")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished run in `runs/one`."""
    folder = tmp_path / "runs" / "one"
    folder.mkdir(parents=True)
    shutil.copyfile(FIXTURES / "main.json", folder / "report.json")
    return folder


@pytest.mark.parametrize(
    ("limits", "code"), [("", 0), ("flops > 500%\n", 0), ("\n  \nflops > 500%\nflops > 1%\n", 4), ("colour > 1", 2)]
)
def test_runs_are_compared_in_the_summary_and_held_to_limits(tmp_path: Path, run: Path, limits: str, code: int) -> None:
    done = script("compare.sh", tmp_path, INPUT_COMPARE="runs/*", INPUT_FAIL_IF=limits)
    assert done.returncode == code, done.stderr
    summary = (tmp_path / "summary.md").read_text(encoding="utf-8")
    assert ("| healthy" in summary) == (code != 2)


def test_no_run_is_told(tmp_path: Path) -> None:
    assert "no run matches" in script("compare.sh", tmp_path, INPUT_COMPARE="runs/*").stdout


BLOCKED = """
import importlib.util, sys
from pathlib import Path
spec = importlib.util.spec_from_file_location("requirements", {requirements!r})
requirements = importlib.util.module_from_spec(spec)
spec.loader.exec_module(requirements)
names = {{"scikit-learn": "sklearn"}}
for blocked in requirements.OF_A_RUN:
    sys.modules[names.get(blocked, blocked)] = None
from recipelang.cli import main
main(sys.argv[1:])
"""


@pytest.mark.parametrize(
    "words",
    [
        ("check", str(ROOT / "recipes" / "quickstart.rcp")),
        ("fmt", "--check", str(ROOT / "recipes" / "quickstart.rcp")),
        ("compare", "runs/one", "--to", "md", "--out", "-", "--fail-if", "flops > 500%"),
    ],
)
def test_the_light_installation_is_enough(tmp_path: Path, run: Path, words: tuple[str, ...]) -> None:
    program = BLOCKED.format(requirements=str(ACTION / "requirements.py"))
    done = subprocess.run([sys.executable, "-c", program, *words], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_light_installation_has_no_torch() -> None:
    done = subprocess.run(
        [sys.executable, str(ACTION / "requirements.py"), str(ROOT / "pyproject.toml")], capture_output=True, text=True
    )
    names = {re.split("[<>=]", line)[0] for line in done.stdout.split()}
    assert {"click", "jinja2", "pyyaml"} <= names and not {"torch", "torchvision", "scipy"} & names


def test_every_input_reaches_a_script_and_every_script_is_there() -> None:
    steps = TOLD["runs"]["steps"]
    used = set(re.findall(r"\$\{\{ inputs\.([\w-]+) \}\}", json.dumps([step["env"] for step in steps])))
    assert used == set(TOLD["inputs"])
    for step in steps:
        (name,) = re.fullmatch(r'bash "\$GITHUB_ACTION_PATH/(\w+\.sh)"', step["run"]).groups()  # type: ignore[union-attr]
        text = (ACTION / name).read_text(encoding="utf-8")
        assert [variable for variable in step["env"] if f"${{{variable}" not in text] == []
        assert "${{" not in text, "an input in a script's text could be a program"
        assert subprocess.run(["bash", "-n", str(ACTION / name)]).returncode == 0


def test_a_wrong_installation_is_told(tmp_path: Path) -> None:
    done = script("install.sh", tmp_path, INPUT_INSTALL="heavy")
    assert done.returncode == 1 and "light, full or none" in done.stdout
    assert script("install.sh", tmp_path, INPUT_INSTALL="none").returncode == 0
