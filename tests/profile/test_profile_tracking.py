"""`tracking` of a profile and `--track`: read as names and settings, every mistake with its place."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from recipelang.commands.boundary import WrongUsage
from recipelang.commands.sources import tracked
from recipelang.errors import RecipeError, render
from recipelang.methods.trackers.mlflow import MLflow
from recipelang.methods.trackers.tensorboard import TensorBoard
from recipelang.methods.trackers.wandb import Wandb
from recipelang.profile import parse_profile

HERE = Path("/project/recipe.yaml")
MLFLOW = MLflow(uri="sqlite:////project/mlflow.db")


@pytest.fixture(autouse=True)
def no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tracking: mlflow\n", (MLFLOW,)),
        ("tracking: [mlflow, tensorboard]\n", (MLFLOW, TensorBoard())),
        ("tracking:\n  mlflow:\n  tensorboard: {}\n", (MLFLOW, TensorBoard())),
        ("tracking: []\n", ()),
        (
            'tracking: {mlflow: {uri: "sqlite:///a/runs.db", experiment: resnets, networks: yes}}\n',
            (MLflow(uri="sqlite:////project/a/runs.db", experiment="resnets", networks=True),),
        ),
        (
            "tracking:\n  - tensorboard: {folder: logs}\n  - wandb\n",
            (TensorBoard("/project/logs"), Wandb("", "/project")),
        ),
        ("device: cpu\n", ()),
    ],
)
def test_trackers_are_read(text: str, expected: tuple[Any, ...]) -> None:
    assert parse_profile(text, HERE).tracking == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tracking: mlflo\n", [("RCP1220", 1, 11)]),
        ("tracking: [mlflow, 5]\n", [("RCP1212", 1, 20)]),
        ("tracking:\n", [("RCP1212", 1, 10)]),
        ("tracking: [mlflow, mlflow]\n", [("RCP1213", 1, 20)]),
        ("tracking: {mlflow: here}\n", [("RCP1221", 1, 20)]),
        ("tracking: {mlflow: {url: x}}\n", [("RCP1221", 1, 21)]),
        ("tracking: {mlflow: {networks: some}}\n", [("RCP1221", 1, 31)]),
        ("tracking: {mlflow: {uri: 5, experiment: [a]}}\n", [("RCP1221", 1, 26), ("RCP1221", 1, 41)]),
        ("tracking: {mlflow: {uri: runs.db}}\n", [("RCP1221", 1, 26)]),
        ('tracking: {tensorboard: {folder: "a\\0b"}}\n', [("RCP1214", 1, 25)]),
        ("tracking: {mlflow: {}, mlflow: {}}\n", [("RCP1213", 1, 24)]),
        ("trackin: mlflow\n", [("RCP1211", 1, 1)]),
        ("tracking: ../mlflow\n", [("RCP1220", 1, 11)]),
    ],
)
def test_mistakes_have_a_place(text: str, expected: list[tuple[str, int, int]]) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_profile(text, HERE)
    assert [(d.code, d.span.line, d.span.column) for d in caught.value.diagnostics if d.span] == expected


def test_a_misspelt_tracker_or_setting_is_shown_with_a_caret_and_the_right_one() -> None:
    for text, right in (("tracking: mlfow\n", "mlflow"), ("tracking: {mlflow: {experimet: a}}\n", "experiment")):
        with pytest.raises(RecipeError) as caught:
            parse_profile(text, HERE)
        shown = render(caught.value.diagnostics[0], caught.value.text)
        assert f"did you mean `{right}`?" in shown and "^^^^^" in shown


def test_a_profile_with_trackers_loads_none_of_their_libraries() -> None:
    parse_profile("tracking: [mlflow, tensorboard, wandb]\n", HERE)
    source = "from pathlib import Path; import sys; from recipelang.profile import parse_profile\n"
    source += "parse_profile('tracking: [mlflow, tensorboard, wandb]', Path('/a/recipe.yaml'))\n"
    source += "print([m for m in ('torch', 'mlflow', 'tensorboard', 'wandb') if m in sys.modules])"
    import subprocess

    ran = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_the_option_names_trackers_as_a_recipe_would(tmp_path: Path) -> None:
    found = tracked(('mlflow(uri="sqlite:///r.db"), tensorboard', "tensorboard"), tmp_path, "--track ")
    assert found == (MLflow(uri=f"sqlite:///{tmp_path}/r.db"), TensorBoard())
    for text, code in (("mlfow", "RCP0201"), ("mlflow(url=1)", "RCP0301"), ("mlflow(", "RCP01")):
        with pytest.raises(WrongUsage) as caught:
            tracked((text,), tmp_path, "--track ")
        (first, *_) = caught.value.diagnostics
        assert first.span is not None and first.span.typed.startswith("--track "), (text, code, first)
