"""Links in the output folder, one that is removed under a run, readers that go away: nothing is lost or misplaced."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

RECIPE = """\
model digits_resnet
data digits(batch=32)
train for 2 steps
prune 1 layers by magnitude
measure params, top1
export safetensors to "deploy"
report csv
"""
RUN = ("run", "a.rcp", "--out", "out")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "a.rcp").write_text(RECIPE)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/mine.txt").write_text("mine")
    return tmp_path


def untouched(place: Path) -> bool:
    return [p.name for p in (place / "elsewhere").iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("name", ["figures", "deploy", ".main.part", "main/deep"])
def test_a_planted_link_is_refused_before_any_work(recipe, place: Path, name: str) -> None:  # type: ignore[no-untyped-def]
    link = place / "out" / name
    link.parent.mkdir(parents=True)
    (place / "out/recipe.rcp").write_text(RECIPE)
    link.symlink_to(place / "elsewhere", target_is_directory=True)
    ended = recipe(*RUN)
    assert ended.code == 3
    assert f"error[RCP0918]: `out/{name}` leads out of `out` through a link" in ended.err
    assert untouched(place)
    assert not (place / ".recipe/store").exists(), "nothing was computed"


def test_links_in_a_circle_are_refused_and_links_within_are_not(recipe, place: Path) -> None:  # type: ignore[no-untyped-def]
    assert recipe(*RUN).code == 0
    (place / "out/again").symlink_to("again")
    ended = recipe(*RUN)
    assert ended.code == 3 and "RCP0918" in ended.err
    (place / "out/again").unlink()
    (place / "out/latest").symlink_to("main", target_is_directory=True)
    assert recipe(*RUN).code == 0


def test_an_output_folder_that_is_a_link_is_the_users_own(recipe, place: Path) -> None:  # type: ignore[no-untyped-def]
    (place / "disk").mkdir()
    (place / "out").symlink_to(place / "disk", target_is_directory=True)
    assert recipe(*RUN).code == 0
    assert (place / "disk/main/model.json").is_file()


@pytest.mark.parametrize("name", ["deploy", "main"])
def test_a_link_planted_during_the_run_is_refused(recipe, place: Path, name: str) -> None:  # type: ignore[no-untyped-def]
    (place / "a.rcp").write_text(RECIPE.replace("2 steps", "60 steps"))
    running = recipe.start(*RUN, every=0.0)
    recipe.wait(lambda: any(place.glob(".recipe/work/*/checkpoint")))
    (place / "out" / name).symlink_to(place / "elsewhere", target_is_directory=True)
    ended = running.ended()
    assert ended.code == 3
    assert "RCP0918" in ended.err
    assert untouched(place)


def test_a_report_is_not_written_again_through_a_link(recipe, place: Path) -> None:  # type: ignore[no-untyped-def]
    assert recipe(*RUN).code == 0
    (place / "out/figures").symlink_to(place / "elsewhere", target_is_directory=True)
    ended = recipe("report", "out")
    assert ended.code == 3 and "RCP0918" in ended.err
    assert untouched(place)


@pytest.mark.parametrize("killed", [False, True])
def test_a_folder_removed_under_a_run_is_whole_afterwards(recipe, place: Path, killed: bool) -> None:  # type: ignore[no-untyped-def]
    (place / "a.rcp").write_text(RECIPE.replace("2 steps", "60 steps"))
    running = recipe.start(*RUN, every=0.0)
    recipe.wait(lambda: any(place.glob(".recipe/work/*/checkpoint")))
    shutil.rmtree(place / "out")
    if killed:
        os.kill(running.process, signal.SIGINT)
        assert running.ended().code == 130
    else:
        assert running.ended().code == 0
        for name in ("recipe.rcp", "report.json", "report.csv", "main/model.safetensors", "deploy"):
            assert (place / "out" / name).exists(), name
    (place / "a.rcp").write_text(RECIPE)
    assert recipe(*RUN).code == 0


@pytest.mark.parametrize("name", ["main", "partial"])
def test_a_folder_of_the_users_is_not_replaced(recipe, place: Path, name: str) -> None:  # type: ignore[no-untyped-def]
    """`recipe run recipe.rcp --out .` in a project that has a folder `main`."""
    (place / "recipe.rcp").write_text(RECIPE)
    (place / name).mkdir()
    (place / name / "code.py").write_text("mine")
    ended = recipe("run", "recipe.rcp", "--out", ".")
    assert ended.code == 3
    assert f"error[RCP0902]: `{name}` is in the way, and no run wrote it" in ended.err
    assert (place / name / "code.py").read_text() == "mine"


def test_a_run_killed_while_it_wrote_its_first_file_is_gone_on_with(recipe, place: Path) -> None:  # type: ignore[no-untyped-def]
    (place / "out").mkdir()
    (place / "out/.recipe.rcp.x1.part").write_text("model dig")
    assert recipe(*RUN).code == 0


def test_what_a_kill_leaves_half_written_is_removed(recipe, place: Path) -> None:  # type: ignore[no-untyped-def]
    for only in ("out/deploy/.", "out/.report.json."):
        assert recipe(*RUN, blow={"at": 2, "how": "SIGKILL", "only": only}).code == -signal.SIGKILL
        assert list(place.glob(f"{only}*part")), only
    (place / "out/figures").mkdir()
    for name in ("out/figures/.front-1.svg.a1_b2c3d.part", "out/.mine.part"):
        (place / name).write_text("half")
    assert recipe(*RUN).code == 0
    assert [path.name for path in (place / "out").rglob("*.part")] == [".mine.part"]  # not of a name that a run gives


@pytest.mark.parametrize("pipe", ["| sleep 0", "|& sleep 0"])
def test_a_reader_that_goes_away_loses_nothing(place: Path, pipe: str) -> None:
    command = f"{sys.executable} -m recipelang.cli run a.rcp --out out --smoke {pipe}; exit ${{PIPESTATUS[0]}}"
    ended = subprocess.run(["bash", "-c", command], cwd=place, capture_output=True, text=True)
    assert ended.returncode == 141, ended.stderr
    assert "Traceback" not in ended.stderr
    assert json.loads((place / "out/report.json").read_text())["variants"][1]["metrics"]
    for name in ("report.csv", "main/model.safetensors", "deploy/model.safetensors"):
        assert (place / "out" / name).is_file(), name
    again = command.replace("run a.rcp --out out --smoke", "report out")
    assert subprocess.run(["bash", "-c", again], cwd=place, capture_output=True).returncode == 141
