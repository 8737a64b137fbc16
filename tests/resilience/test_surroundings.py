"""Closed streams, readers that go away, no home, odd letters: the command works, or ends quietly."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

RECIPE = "model digits_resnet\ndata digits\ntrain for 1 steps\nprune 1 layers by random\nmeasure params\n"
RECIPE_COMMAND = [sys.executable, "-m", "recipelang.cli"]


def shell(script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A line of shell in which `"$@"` is the command."""
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", script, "bash", *RECIPE_COMMAND, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ('"$@" list <&-', 0),
        ('"$@" list >&-', 0),
        ('"$@" list <&- >&- 2>&-', 0),
        ('"$@" list >/dev/full', 3),
        ('"$@" explain prunee 2>/dev/full', 2),
        ('for i in {1..9}; do "$@" list; done | sleep 0 || test ${PIPESTATUS[0]} = 141', 0),
        ('"$@" explain prunee 2>&1 | sleep 0 || test ${PIPESTATUS[0]} = 141', 0),
    ],
)
def test_streams_that_lead_nowhere(script: str, code: int) -> None:
    ended = shell(script)
    assert ended.returncode == code, ended.stderr
    assert "Traceback" not in ended.stderr
    assert "bug" not in ended.stderr


def test_a_terminal_without_the_letters() -> None:
    script = "from recipelang.commands.boundary import guarded\nguarded(lambda: print('0.7×'), 'recipe')"
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env={**os.environ, "PYTHONIOENCODING": "ascii"}
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == "0.7?\n"


@pytest.mark.parametrize(
    "environment",
    [
        {"HOME": None, "RECIPELANG_CACHE": None, "XDG_CACHE_HOME": None},
        {"HOME": "/nonexistent", "RECIPELANG_CACHE": "/proc/nowhere", "MPLCONFIGDIR": "/proc/nowhere"},
    ],
)
def test_no_home_and_no_cache(recipe, tmp_path: Path, environment: dict[str, str | None]) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "a.rcp").write_text(RECIPE)
    ended = recipe("run", "a.rcp", "--out", "out", environment=environment)
    assert ended.code == 0, ended.err
    assert {p.name for p in tmp_path.iterdir()} == {"a.rcp", "out", ".recipe"}


def test_blanks_and_letters_in_paths(recipe, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    recipe.folder = tmp_path / "Bücher und Bilder"
    recipe.folder.mkdir()
    (recipe.folder / "größer, schöner.rcp").write_text(RECIPE)
    ended = recipe("run", "größer, schöner.rcp", "--store", "ein Lager")
    assert ended.code == 0, ended.err
    assert (recipe.folder / "runs/größer, schöner-1/report.html").is_file()
    assert (recipe.folder / "ein Lager/store").is_dir()
    shown = recipe("report", "runs/größer, schöner-1")
    assert shown.code == 0, shown.err


def test_a_name_that_is_no_text(recipe, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    name = os.fsdecode(b"\xff.rcp")
    (tmp_path / name).write_text(RECIPE)
    ended = recipe("run", name)
    assert ended.code == 0, ended.err
    assert (tmp_path / "runs" / os.fsdecode(b"\xff-1") / "report.md").is_file()
