"""The hooks do in a repository what they are there for."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent.parent
HOOKS = {hook["id"]: hook for hook in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))}
RIGHT, LOOSE, WRONG = "prune 1 layer by imprint\n", "prune   1 layer by imprint\n", "prune 1 layer by imprnt\n"


def git(folder: Path, *words: str) -> None:
    subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """A repository of a user, with three recipes and another file that are about to be committed."""
    if not shutil.which("git"):
        pytest.skip("needs git")
    git(tmp_path, "init", "--quiet")
    for name, text in {"right.rcp": RIGHT, "loose.rcp": LOOSE, "wrong.rcp": WRONG, "notes.txt": WRONG}.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    git(tmp_path, "add", ".")
    return tmp_path


def hooked(folder: Path, hook: str) -> subprocess.CompletedProcess[str]:
    """Run a hook on everything, as a commit would."""
    pytest.importorskip("pre_commit", reason="needs pre-commit")
    if not (ROOT / ".git").exists():
        pytest.skip("needs a clone, which pre-commit clones again")
    command = [sys.executable, "-m", "pre_commit", "try-repo", str(ROOT), hook, "--all-files", "--color", "never"]
    paths = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": paths, "PRE_COMMIT_HOME": str(folder / ".git" / "pre-commit")}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_check_finds_the_mistake_in_recipes_alone(theirs: Path) -> None:
    done = hooked(theirs, "recipe-check")
    assert done.returncode == 1, done.stderr
    assert "wrong.rcp:1:18" in done.stdout and "did you mean `imprint`" in done.stdout
    assert "right.rcp: ok" in done.stdout and "notes.txt" not in done.stdout


def test_fmt_formats_in_place_and_says_that_it_did(theirs: Path) -> None:
    (theirs / "wrong.rcp").unlink()
    git(theirs, "add", ".")
    done = hooked(theirs, "recipe-fmt")
    assert done.returncode == 1 and "files were modified by this hook" in done.stdout, done.stderr
    assert (theirs / "loose.rcp").read_text(encoding="utf-8") == RIGHT
    assert (theirs / "notes.txt").read_text(encoding="utf-8") == WRONG


@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_runs_a_command_of_recipe(hook: str) -> None:
    from recipelang.cli import COMMANDS

    program, command = HOOKS[hook]["entry"].split()
    assert program == "recipe" and command in COMMANDS
