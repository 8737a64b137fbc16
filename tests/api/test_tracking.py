"""Trackers of `recipe.yaml` follow runs that a program asks for."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

import recipelang
from tests.api.program import Net, Shades

RECIPE = "prune 1 layer by imprint\nfinetune for 1 epoch\nmeasure params"


class Listener:
    """A progress that keeps what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def start(self, *args: object, **named: object) -> None: ...

    def advance(self, *args: object, **named: object) -> None: ...

    def stop(self) -> None: ...

    def say(self, line: str) -> None:
        self.said.append(line)


def test_a_call_is_tracked_as_the_profile_says(
    net: Net, shades: Shades, here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorboard")
    (here / "recipe.yaml").write_text("tracking: {tensorboard: {folder: logs}}\n")
    listener = Listener()
    recipelang.run(RECIPE, model=net, data=shades, threads=1, progress=listener)
    assert list((here / "logs").rglob("*tfevents*"))
    assert any("logs" in line for line in listener.said)
    capfd.readouterr()
    recipelang.run(RECIPE, model=net, data=shades, threads=1)
    assert capfd.readouterr() == ("", "")


def test_files_of_wandb_in_the_folder_of_a_run_leave_the_next_run_in_peace(
    net: Net, shades: Shades, here: Path
) -> None:
    pytest.importorskip("wandb")
    (here / "wandb").mkdir()
    (here / "recipe.yaml").write_text("tracking: {wandb: {folder: mine}}\n")
    for epochs in (1, 2):
        recipe = RECIPE.replace("1 epoch", f"{epochs} epochs")
        result = recipelang.run(recipe, model=net, data=shades, threads=1, out="mine")
        assert result.record["warnings"] == [], result.record["warnings"]
    assert len(list((here / "mine" / "wandb").glob("offline-run-*"))) >= 2


@pytest.mark.parametrize("call", [recipelang.plan, recipelang.run])
def test_a_tracker_that_is_not_installed_is_refused_before_any_work(
    call: object, net: Net, shades: Shades, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "recipe.yaml").write_text("tracking: wandb\n")
    (here / "wandb").mkdir()  # as `import wandb` finds it where the library is not installed
    folder = importlib.util.spec_from_loader("wandb", None, is_package=True)
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *of: folder if name == "wandb" else find(name, *of))
    with pytest.raises(recipelang.RecipeError) as caught:
        call(RECIPE, model=net, data=shades)  # type: ignore[operator]
    assert [one.code for one in caught.value.diagnostics] == ["RCP1027"]
    assert not (here / "runs").exists()
