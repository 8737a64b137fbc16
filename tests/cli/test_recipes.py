"""The recipes of the repository are right and formatted."""

from __future__ import annotations

from pathlib import Path

import pytest

from recipelang.cli import main

RECIPES = Path(__file__).parent.parent.parent / "recipes"
FILES = sorted(str(file) for file in RECIPES.rglob("*.rcp"))


def recipe(*arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    return int(left.value.code or 0)


def test_there_are_recipes() -> None:
    assert {Path(file).name for file in FILES} >= {"quickstart.rcp", "cifar10_resnet56.rcp", "first_day.rcp"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: Path(file).stem)
def test_a_recipe_is_right_without_a_warning(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert recipe("check", file) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("file", FILES, ids=lambda file: Path(file).stem)
def test_a_recipe_is_formatted(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert recipe("fmt", "--check", "--diff", file) == 0, capsys.readouterr().out
