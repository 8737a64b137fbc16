"""init, gc and the options of plan and run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from recipelang import paths
from recipelang.cli import main
from recipelang.profile import Profile, parse_profile


def recipe(*arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    return int(left.value.code or 0)


def test_init_writes_a_recipe_and_a_profile_that_are_right(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "new" / "project"
    assert recipe("init", str(folder)) == 0
    assert capsys.readouterr().out.split() == [str(folder / "first.rcp"), str(folder / "recipe.yaml")]
    assert recipe("check", str(folder / "first.rcp")) == 0
    assert recipe("fmt", "--check", str(folder / "first.rcp")) == 0


def test_what_the_first_profile_shows_is_right() -> None:
    """With its comment signs removed, the commented profile is accepted."""
    text = (paths.folder("recipes") / "starter" / "recipe.yaml").read_text(encoding="utf-8")
    assert parse_profile(text, Path("/p/recipe.yaml")) == Profile(path=Path("/p/recipe.yaml"))
    shown = "\n".join(line.removeprefix("# ") for line in text.splitlines()[2:])
    profile = parse_profile(shown, Path("/p/recipe.yaml"))
    assert profile.aliases == {"mine": 'python("my_net.py:build")'}
    assert set(profile.paths) == {"cifar10", "resnet56.safetensors"}


@pytest.mark.parametrize("taken", ["first.rcp", "recipe.yaml"])
def test_init_overwrites_nothing(taken: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / taken).write_text("mine\n")
    assert recipe("init", str(tmp_path)) == 2
    assert taken in capsys.readouterr().err
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [(taken, "mine\n")]


def test_gc_without_a_store_makes_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert recipe("gc", "--store", str(tmp_path / "none")) == 0
    assert "no store" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("--seeds", "0,0", "distinct whole numbers"),
        ("--seeds", "a", "distinct whole numbers"),
        ("--seeds", "5..1", "distinct whole numbers"),
        ("--set", "target", "NAME=VALUE"),
        ("--set", "=3", "NAME=VALUE"),
        ("--device", "gpu", "there is no device `gpu`"),
        ("--threads", "0", "0 is not in the range"),
    ],
)
def test_options_are_checked(option: str, value: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert recipe("run", "-e", "prune 1 layers by random", option, value) == 2
    assert said in capsys.readouterr().err


def test_a_let_is_set_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert recipe("plan", "-e", "let n = 1; prune $n layers by random", "--set", "n=2", "--set", "n=3") == 2
    assert "`n` is set twice" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command", ["check", "fmt", "plan", "run", "report", "compare", "layers", "profile", "init", "gc"]
)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert recipe(command, "--help") == 0
    assert f"Usage: recipe {command}" in capsys.readouterr().out


def test_layers_shows_groups_of_channels_and_why_others_stay(capsys: pytest.CaptureFixture[str]) -> None:
    assert recipe("layers", "digits_resnet") == 0
    out, err = capsys.readouterr()
    assert "conv1           filters  16        2            conv1 and 10 more, to `layer2.4.conv2`" in out
    assert "stays whole (they are the network's output): linear" in err
    assert "no neuron of this network can be removed" in err
    assert recipe("layers", "digits_resnet", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["whole"] == {"linear": "they are the network's output"}
    assert [(row["group"], row["size"], row["multiple"]) for row in told["groups"]][-1] == ("layer2.4.conv1", 32, 4)
    assert {row["unit"] for row in told["groups"]} == {"filters"} and len(told["groups"][0]["layers"]) == 11
