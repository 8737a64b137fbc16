"""Full disks, forbidden places, torn entries, two runs at once: a clear message, and the store stays sound."""

from __future__ import annotations

import hashlib
import os
import signal
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

RECIPE = """\
model digits_resnet
data digits(batch=32)
train for 2 steps
prune 2 layers by magnitude
sparsify nm 2:4
measure params
export safetensors to "deploy"
"""
RUN = ("run", "a.rcp", "--out", "out")


def network(folder: Path) -> str:
    return hashlib.sha256((folder / "out/main/model.safetensors").read_bytes()).hexdigest()


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "a.rcp").write_text(RECIPE)
    return tmp_path


@pytest.fixture(scope="module")
def weights(commands, tmp_path_factory: pytest.TempPathFactory) -> str:  # type: ignore[no-untyped-def]
    """What the recipe ends with where nothing goes wrong."""
    commands.folder = tmp_path_factory.mktemp("sound")
    (commands.folder / "a.rcp").write_text(RECIPE)
    assert commands(*RUN).code == 0
    return network(commands.folder)


def test_a_full_disk_at_any_moment(recipe, place: Path, weights: str) -> None:  # type: ignore[no-untyped-def]
    at = 1
    while (ended := recipe(*RUN, blow={"at": at, "how": "ENOSPC"})).code != 0:
        assert ended.code == 3, ended.err
        assert "error[RCP1206]: the disk is full at `" in ended.err
        assert "the same command then continues" in ended.err
        assert not list((place / "out").glob(".*")), "nothing half written"
        at += 15
    assert at > 50
    assert network(place) == weights


@pytest.mark.parametrize(
    ("blow", "line"),
    [
        ({"at": 1, "how": "ENOSPC", "only": "checkpoint"}, "3 | train for 2 steps"),
        ({"at": 1, "how": "EROFS", "only": "deploy"}, '7 | export safetensors to "deploy"'),
    ],
)
def test_a_step_that_the_machine_stops_is_shown(recipe, place: Path, blow, line: str) -> None:  # type: ignore[no-untyped-def]
    ended = recipe(*RUN, blow=blow)
    assert ended.code == 3
    assert f"{line}\n" in ended.err
    assert "^^^^" in ended.err


def test_a_file_that_grows_too_large(recipe, place: Path, weights: str) -> None:  # type: ignore[no-untyped-def]
    ended = recipe(*RUN, largest=100_000)
    assert ended.code == 3
    assert "error[RCP1209]: the system refused" in ended.err
    assert "File too large" in ended.err
    assert "1 | model digits_resnet\n" in ended.err
    assert recipe(*RUN).code == 0
    assert network(place) == weights


@pytest.mark.parametrize("only", [".recipe", "out"])
def test_a_place_that_may_not_be_written(recipe, place: Path, only: str) -> None:  # type: ignore[no-untyped-def]
    ended = recipe(*RUN, blow={"at": 1, "how": "EROFS", "only": f"{place}/{only}"})
    assert ended.code == 3
    assert "error[RCP1207]: the system does not allow access at `" in ended.err
    assert "--out and --store" in ended.err


def test_every_file_of_the_store_torn(recipe, place: Path, weights: str) -> None:  # type: ignore[no-untyped-def]
    assert recipe(*RUN).code == 0
    files = sorted(p for p in (place / ".recipe/store").rglob("*") if p.is_file())
    assert len(files) > 15
    for number, file in enumerate(files):
        size = file.stat().st_size
        with file.open("r+b") as opened:
            opened.truncate(number % 2 * size // 2)
    ended = recipe(*RUN)
    assert ended.code == 0, ended.err
    assert "4 steps: 0 from the store, 4 done" in ended.err
    assert network(place) == weights


def test_two_runs_on_one_store(recipe, place: Path, weights: str) -> None:  # type: ignore[no-untyped-def]
    first = recipe.start(*RUN)
    second = recipe.start(*RUN[:-1], "other")
    ended = [first.ended(), second.ended()]
    assert [e.code for e in ended] == [0, 0]
    done = [int(e.err.split(" from the store, ")[1].split(" done")[0]) for e in ended]
    assert sum(done) == 4, "every step was done once"
    assert network(place) == weights
    assert (place / "other/main/model.safetensors").read_bytes() == (place / "out/main/model.safetensors").read_bytes()


def test_a_second_run_waits_for_the_step_of_the_first(recipe, place: Path) -> None:  # type: ignore[no-untyped-def]
    text = "model digits_resnet; data digits(batch=32); train for 300 steps; measure params"
    first = recipe.start("run", "-e", text, "--out", "first", every=0.0)
    recipe.wait(lambda: any(place.glob(".recipe/work/*/checkpoint")))
    second = recipe.start("run", "-e", text, "--out", "second", every=0.0)
    recipe.wait(lambda: "another run is at this step; waiting for it" in second.err.read_text())
    third = recipe("run", "-e", text, "--out", "first")
    assert third.code == 3
    assert "RCP0917" in third.err
    os.kill(first.process, signal.SIGKILL)
    assert first.ended().code == -signal.SIGKILL
    os.kill(second.process, signal.SIGINT)  # it took over
    assert second.ended().code == 130


@pytest.mark.parametrize("name", ["a.rcp", "foreign"])
def test_an_output_that_is_none_of_ours(recipe, place: Path, name: str) -> None:  # type: ignore[no-untyped-def]
    (place / "foreign").mkdir()
    (place / "foreign/photo.jpg").write_text("mine")
    ended = recipe("run", "a.rcp", "--out", name)
    assert ended.code == 3
    assert f"error[RCP0902]: `{name}` is " in ended.err
    assert (place / "foreign/photo.jpg").read_text() == "mine"
    assert (place / "a.rcp").read_text() == RECIPE
