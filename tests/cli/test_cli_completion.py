"""What shells complete: the answers to their questions, and bash itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

RECIPE = "import sys; from recipelang.cli import main; main()"


def asked(folder: Path, *words: str) -> list[tuple[str, str]]:
    """(sort, word) of everything that completes the last word."""
    line = " ".join(["recipe", *words])
    environment = {
        **os.environ,
        "_RECIPE_COMPLETE": "bash_complete",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words)),
    }
    run = subprocess.run(
        [sys.executable, "-c", RECIPE], env=environment, capture_output=True, text=True, check=True, cwd=folder
    )
    assert run.stderr == ""
    return [tuple(line.split(",", 1)) for line in run.stdout.splitlines() if line]  # type: ignore[misc]


@pytest.mark.parametrize(
    ("words", "some"),
    [
        (("expl",), ["explain"]),
        (("explain", "magn"), ["magnitude"]),
        (("explain", "RCP000"), []),
        (("explain", "prun"), ["prune"]),
        (("list", "crit"), ["criterion"]),
        (("layers", "resnet5"), ["resnet56"]),
        (("layers", "torchvision.resnet1"), ["torchvision.resnet101", "torchvision.resnet152", "torchvision.resnet18"]),
        (("completion", ""), ["bash", "zsh", "fish"]),
        (("check", "--js"), ["--json"]),
    ],
)
def test_words_are_completed(tmp_path: Path, words: tuple[str, ...], some: list[str]) -> None:
    assert asked(tmp_path, *words) == [("plain", word) for word in some]


def test_files_are_left_to_the_shell_and_the_names_of_a_recipe_are_read(tmp_path: Path) -> None:
    assert asked(tmp_path, "check", "re") == [("file", "re")]
    (tmp_path / "r.rcp").write_text("let tune = sgd\n  let lr = 1\nlet tune = adam\n")
    assert asked(tmp_path, "run", "r.rcp", "--set", "") == [("plain", "tune="), ("plain", "lr=")]
    assert asked(tmp_path, "run", "gone.rcp", "--set", "") == []
    assert asked(tmp_path, "run", "r.rcp", "--device", "cu") == [("plain", "cuda"), ("plain", "cuda:0")]
    assert asked(tmp_path, "compare", "x", "--sort", "lat") == [("plain", "latency")]
    assert ("plain", "markdown,html") in asked(tmp_path, "report", "x", "--to", "markdown,h")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_gets_its_script(tmp_path: Path, shell: str) -> None:
    if shell == "bash" and not shutil.which("bash"):
        pytest.skip("there is no bash")
    code = f"from recipelang.cli import main; main(['completion', {shell!r}])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert f"_RECIPE_COMPLETE={shell}_complete" in run.stdout
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=run.stdout, text=True, check=True)


def test_bash_completes(tmp_path: Path) -> None:
    bash = shutil.which("bash")
    if not bash:
        pytest.skip("there is no bash")
    (tmp_path / "recipe").write_text(f"#!/bin/sh\nexec {sys.executable} -c '{RECIPE}' \"$@\"\n")
    (tmp_path / "recipe").chmod(0o755)
    script = (
        'eval "$(recipe completion bash)"; COMP_WORDS=(recipe explain magnit); COMP_CWORD=2; '
        '_recipe_completion recipe magnit explain; echo "${COMPREPLY[@]}"'
    )
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    run = subprocess.run([bash, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "magnitude"
