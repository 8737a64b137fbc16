"""Invalid paths, and `~` where the shell left it: a clear message, and nothing written anywhere."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from recipelang.cli import main
from recipelang.errors import Refusal
from recipelang.files import LONGEST_NAME, expanded, shortened
from recipelang.profile import locate, parse_profile

RECIPE = "model digits_resnet\ndata digits\nprune 1 layers by random\n"
LONG = "a" * (LONGEST_NAME + 1)
DEEP = "/".join(["d"] * 3000)
STRANGE = ["~nobody-here/x", LONG, DEEP]


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    told = capsys.readouterr()
    return int(left.value.code or 0), told.out + told.err


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.rcp").write_text(RECIPE)
    return tmp_path


@pytest.mark.parametrize("path", STRANGE)
@pytest.mark.parametrize(
    "command",
    [
        ("run", "a.rcp", "--out"),
        ("plan", "a.rcp", "--store"),
        ("plan", "a.rcp", "--profile"),
        ("check", "a.rcp", "--profile"),
        ("check",),
        ("report",),
        ("compare",),
        ("init",),
        ("gc", "--store"),
    ],
    ids=" ".join,
)
def test_a_path_that_no_system_has(folder: Path, command: tuple[str, ...], path: str, capsys) -> None:  # type: ignore[no-untyped-def]
    code, text = said(capsys, *command, path)
    assert code == 2, text
    assert "is not a path: " in text
    assert "bug" not in text
    assert len(text) < 1000, "a message does not repeat all of it"
    assert [p.name for p in folder.iterdir()] == ["a.rcp"]


@pytest.mark.parametrize(
    "line", ['store: "~nobody-here/s"', 'store: "a\\0b"', 'data: {x: "~nobody-here/s"}', f'weights: {{x: "{LONG}"}}']
)
def test_a_path_of_the_profile_that_no_system_has(folder: Path, line: str, capsys) -> None:  # type: ignore[no-untyped-def]
    (folder / "recipe.yaml").write_text(line + "\n")
    code, text = said(capsys, "check", "a.rcp")
    assert code == 1
    assert "error[RCP1214]" in text
    assert "recipe.yaml:1:" in text, "it points at the line"


@pytest.mark.parametrize(
    ("recipe", "at"),
    [
        ('model artifact("{}")\ndata digits\nprune 1 layers by random\n', "1:1"),
        ('model digits_resnet\ndata folder("{}")\nprune 1 layers by random\n', "2:1"),
        (RECIPE + 'export safetensors to "{}"\n', "4:1"),
        (RECIPE + 'report csv to "{}"\n', "4:1"),
    ],
)
@pytest.mark.parametrize("path", ["~nobody-here/x", "a\0b", LONG], ids=["user", "zero", "long"])
def test_a_path_of_the_recipe_that_no_system_has(folder: Path, recipe: str, at: str, path: str, capsys) -> None:  # type: ignore[no-untyped-def]
    (folder / "b.rcp").write_text(recipe.format(path))
    code, text = said(capsys, "plan", "b.rcp", "--smoke")
    assert code in (1, 3)
    assert "error[RCP1214]" in text
    assert f"--> b.rcp:{at}\n" in text
    assert sorted(p.name for p in folder.iterdir()) == ["a.rcp", "b.rcp"]


@pytest.mark.parametrize("path", ["~nobody-here/x.rcp", "a\0b.rcp", LONG + ".rcp"], ids=["user", "zero", "long"])
def test_a_recipe_that_is_used_and_cannot_be(folder: Path, path: str, capsys) -> None:  # type: ignore[no-untyped-def]
    (folder / "b.rcp").write_text(f'use "{path}"\n')
    code, text = said(capsys, "check", "b.rcp")
    assert code == 1
    assert "--> b.rcp:1:" in text
    assert "bug" not in text


def test_a_tilde_that_the_shell_left_is_the_home_folder(folder: Path, monkeypatch, capsys) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("HOME", str(folder / "home"))
    code, text = said(capsys, "init", "~/project")
    assert code == 0, text
    assert (folder / "home/project/first.rcp").is_file()
    assert not (folder / "~").exists()


def test_a_tilde_in_a_recipe_leads_out_of_the_output_folder(folder: Path, monkeypatch, capsys) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("HOME", str(folder / "home"))
    (folder / "b.rcp").write_text(RECIPE + 'export safetensors to "~/deploy"\n')
    code, text = said(capsys, "plan", "b.rcp", "--smoke")
    assert code == 1 and "RCP0912" in text


def test_a_user_without_a_home_has_profiles(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    (folder / "recipe.yaml").write_text("threads: 2\n")
    found = locate(folder)
    assert found is not None and parse_profile(found.read_text(), found).threads == 2


def test_paths_as_they_are() -> None:
    assert expanded("runs/größer, schöner") == Path("runs/größer, schöner")
    assert expanded("~") == Path(os.path.expanduser("~"))
    assert expanded("a/~b") == Path("a/~b")
    assert expanded(LONG[:-1]) == Path(LONG[:-1])
    with pytest.raises(Refusal):
        expanded("ü" * 128)  # 256 bytes
    assert shortened("abcdefghij", 5) == "ab…ij"
