"""Killed, interrupted or told to end at any moment, a run goes on and ends as if nothing had happened."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

RECIPE = """\
model digits_resnet
data digits(batch=32)
train for 4 steps
prune layers by taylor on train(samples=64) until flops < 0.75 over 2 rounds for 4 steps
sparsify nm 2:4
distill from healthy, recovered for 3 steps
measure params
export safetensors
"""
RUN = ("run", "a.rcp", "--out", "out")
OFTEN = 0.0  # a checkpoint after every step


def written(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of a network."""
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def numbers(report: Path) -> object:
    """What a report says, without how long it took."""
    variants = json.loads(report.read_text())["variants"]
    for variant in variants:
        del variant["cost"]
        for run in variant["runs"]:
            del run["cost"]
            for step in run["steps"]:
                del step["seconds"], step["cached"], step["cost"]
    return variants


@pytest.fixture(scope="module")
def undisturbed(commands, tmp_path_factory: pytest.TempPathFactory) -> Path:  # type: ignore[no-untyped-def]
    """The folder of a run that nothing disturbed."""
    commands.folder = tmp_path_factory.mktemp("undisturbed")
    (commands.folder / "a.rcp").write_text(RECIPE)
    ended = commands(*RUN)
    assert ended.code == 0, ended.err
    return commands.folder


def forget(folder: Path, verb: str) -> None:
    """Remove the steps of this verb from the store."""
    for manifest in (folder / ".recipe/store").glob("*/*/manifest.json"):
        if json.loads(manifest.read_text())["ingredients"]["verb"] == verb:
            shutil.rmtree(manifest.parent)


def same(folder: Path, undisturbed: Path) -> None:
    assert written(folder / "out/main") == written(undisturbed / "out/main")
    assert numbers(folder / "out/report.json") == numbers(undisturbed / "out/report.json")
    assert [p.name for p in (folder / ".recipe/work").iterdir()] == []
    assert {p.name for p in (folder / "out").iterdir()} == {p.name for p in (undisturbed / "out").iterdir()}
    assert {p.name for p in folder.iterdir()} == {"a.rcp", "out", ".recipe"}


def test_killed_again_and_again(recipe, undisturbed: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "a.rcp").write_text(RECIPE)
    chance = random.Random(1)
    kills, at = 0, 2
    while (ended := recipe(*RUN, every=OFTEN, blow={"at": at, "how": "SIGKILL"})).code == -signal.SIGKILL:
        kills, at = kills + 1, at + chance.randint(10, 30)
    assert ended.code == 0, ended.err
    assert kills >= 4
    same(tmp_path, undisturbed)


def test_killed_inside_a_later_training(recipe, undisturbed: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    shutil.copytree(undisturbed, tmp_path, dirs_exist_ok=True)
    forget(tmp_path, "distill")
    before_the_last = {"at": 5, "how": "SIGKILL", "only": "checkpoint"}  # opened, moved; opened, moved; opened
    assert recipe(*RUN, every=OFTEN, blow=before_the_last).code == -signal.SIGKILL
    one_is_left = {"at": 3, "how": "SIGKILL", "only": "checkpoint"}
    ended = recipe(*RUN, every=OFTEN, blow=one_is_left)
    assert ended.code == 0, "the training went on from its second step"
    assert "5 steps: 4 from the store, 1 done" in ended.err
    same(tmp_path, undisturbed)


def same_after(recipe, folder: Path, text: str, only: str, moments: tuple[int, ...]) -> None:  # type: ignore[no-untyped-def]
    """A recipe killed at each of these moments of files of this name ends with the bytes of one that was not."""
    (folder / "a.rcp").write_text(text)
    assert recipe("run", "a.rcp", "--out", "whole", "--store", "another").code == 0
    for at in moments:
        blow = {"at": at, "how": "SIGKILL", "only": only}
        assert recipe(*RUN, every=OFTEN, blow=blow).code == -signal.SIGKILL
    assert recipe(*RUN, every=OFTEN).code == 0
    assert written(folder / "out/main") == written(folder / "whole/main")


def test_killed_inside_trainings_with_companions(recipe, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    text = """\
model digits_resnet
data digits(batch=32)
train for 3 steps with slimming(1e-2)
sparsify weights to 60% by magnitude over agp(start=10%, every=2 steps) for 5 steps
export safetensors
"""
    # inside the first training, which opens and moves a file for each of its steps, and in the second
    same_after(recipe, tmp_path, text, "checkpoint", (5, 9))


def test_killed_while_parts_leave_during_a_training(recipe, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    text = """\
model digits_resnet
data digits(batch=32)
prune 3 layers by magnitude over agp(begin=1 steps, every=2 steps) for 6 steps with sgd(lr=1e-2)
export safetensors
"""
    # in different windows, each of which opens and moves a file for each of its steps
    same_after(recipe, tmp_path, text, "from-", (2, 5, 8))


def test_killed_inside_the_rounds_of_a_lottery(recipe, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    text = """\
model digits_resnet
data digits(batch=32)
keep as early
train for 3 steps
sparsify weights to 60% over lottery(rounds=3, rewind=early) for 6 steps
export safetensors
"""
    # in different rounds, each of which opens and moves a file for each of its steps
    same_after(recipe, tmp_path, text, "round-", (2, 5))


SEARCHES = {
    "sensitivity": "sensitivity until flops < 0.6",
    "eagleeye": "eagleeye(12) until flops < 0.6",
    "netadapt": "netadapt(reduction=0.2, steps=2) until flops < 0.7",
    "amc": "amc(8, hidden=8) until flops < 0.6",
    "ecc": "ecc(6) until flops < 0.6",
}


@pytest.mark.parametrize("name", SEARCHES)
def test_a_search_killed_at_random_moments(recipe, tmp_path: Path, name: str) -> None:  # type: ignore[no-untyped-def]
    head = "model digits_vgg\ndata digits(batch=32)\ntrain for 2 steps\n"
    text = f"{head}prune filters(round=8) by magnitude with {SEARCHES[name]}\nmeasure params\nexport safetensors\n"
    (tmp_path / "a.rcp").write_text(text)
    assert recipe("run", "a.rcp", "--out", "whole", "--store", "another").code == 0
    chance, kills = random.Random(name), 0
    while True:
        # of the files in which a search keeps what it has found out and what it trains, each opened and then moved
        blow = {"at": chance.randint(2, 14) * (1 + kills), "how": "SIGKILL", "only": "search-"}
        if (ended := recipe(*RUN, every=OFTEN, blow=blow)).code != -signal.SIGKILL:
            break
        kills += 1
    assert ended.code == 0, ended.err
    assert kills >= 2
    assert written(tmp_path / "out/main") == written(tmp_path / "whole/main")
    assert numbers(tmp_path / "out/report.json") == numbers(tmp_path / "whole/report.json")
    assert [p.name for p in (tmp_path / ".recipe/work").iterdir()] == []


def test_a_rerun_computes_nothing(recipe, undisturbed: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    shutil.copytree(undisturbed, tmp_path, dirs_exist_ok=True)
    before = written(tmp_path / ".recipe/store")
    ended = recipe(*RUN)
    assert ended.code == 0
    assert "5 steps: 5 from the store, 0 done" in ended.err
    assert written(tmp_path / ".recipe/store") == before
    same(tmp_path, undisturbed)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted(recipe, tmp_path: Path, number: signal.Signals) -> None:  # type: ignore[no-untyped-def]
    text = "model digits_resnet; data digits; train for 900 epochs"
    running = recipe.start("run", "-e", text, every=OFTEN)
    recipe.wait(lambda: any(tmp_path.glob(".recipe/work/*/checkpoint")))
    os.kill(running.process, number)
    ended = running.ended()
    assert ended.code == 130
    assert "interrupted" in ended.err
    assert f"recipe run -e '{text}' --threads 1" in ended.err
    assert "Traceback" not in ended.err
    assert [p.name for p in (tmp_path / "runs/oneliner-1").iterdir()] == ["recipe.rcp"]
    assert [p.name for p in tmp_path.glob(".recipe/work/*/*")] == ["checkpoint"]


def test_the_folder_of_an_interrupted_run_is_taken_again(recipe, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    command = ("run", "-e", "model digits_resnet; data digits; prune 1 layers by random; measure params")
    assert recipe(*command, blow={"at": 6, "how": "SIGKILL"}).code == -signal.SIGKILL
    assert (tmp_path / "runs/oneliner-1/recipe.rcp").is_file()
    assert recipe(*command).code == 0
    assert recipe(*command).code == 0
    assert sorted(p.name for p in (tmp_path / "runs").iterdir()) == ["oneliner-1", "oneliner-2"]
