"""A mistake in a step given on the command line points into its option, not at a line of the recipe."""

from __future__ import annotations

from pathlib import Path

import pytest

from recipelang.cli import main

RECIPE = "let n = 1\nmodel digits_resnet\ndata digits\nprune $n layers by random\nmeasure params\n"


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    said = capsys.readouterr()
    return int(left.value.code or 0), said.out + said.err


@pytest.mark.parametrize(
    ("arguments", "code", "shown"),
    [
        (("--model", 'artifact("nope")'), "RCP0714", '--model artifact("nope")'),
        (("--data", 'folder("nope")'), "RCP0801", '--data folder("nope")'),
        (("--data", 'folder("~nobody-here/x")'), "RCP1214", '--data folder("~nobody-here/x")'),
        (("--set", "n=99"), "RCP0911", "prune $n layers by random"),
    ],
)
def test_a_step_that_cannot_be_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments, code, shown
) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.rcp").write_text(RECIPE)
    left, text = told(capsys, "plan", "a.rcp", "--smoke", *arguments)
    assert left in (1, 3)
    assert f"error[{code}]" in text
    line = "4" if shown.startswith("prune") else "1"
    assert f"{line} | {shown}\n" in text
    assert "^^^" in text.split(shown, 1)[1]


@pytest.mark.parametrize("arguments", [('artifact("nope")',), ("resnet20", "--data", 'folder("nope")')])
def test_layers_of_what_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments
) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.chdir(tmp_path)
    left, text = told(capsys, "layers", *arguments)
    assert left == 3
    assert f" {arguments[-1]}\n" in text and "^^^" in text


def test_a_step_of_the_command_line_has_no_line_of_the_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.rcp").write_text(RECIPE)
    _, text = told(capsys, "plan", "a.rcp", "--smoke", "--model", "resnet20")
    assert "   +  ▸ model resnet20\n" in text
    assert "   3  · data digits\n" in text
