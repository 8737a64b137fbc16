"""README.md and the pages in docs/ are correct: every example runs, answers are as printed, links have a target."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import click
import numpy as np
import pytest
from PIL import Image

from recipelang.cli import COMMANDS
from recipelang.cli import recipe as program
from recipelang.methods.metrics.latency import Latency
from tests.guides.examples import Clock, Reader, blocks, left_out, pages

ROOT = Path(__file__).parent.parent
#: pages whose commands train for more than a few seconds: each is typed in as it is by `make test-slow`
WHOLE = ("docs/tutorial.md",)
#: pages that take most of the time of all even with `--smoke`
SLOW = ("README.md",)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a reader: the quickstart, and images of three classes that differ in colour."""
    shutil.copy(ROOT / "recipes" / "quickstart.rcp", tmp_path)
    draws = np.random.default_rng(0)
    for number, name in enumerate(("bird", "cat", "dog")):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for image in range(12):
            pixels = draws.integers(0, 128, (40, 48, 3), np.uint8)
            pixels[:, :, number] += 127
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{image}.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "page", [pytest.param(p, marks=pytest.mark.slow if p in SLOW else ()) for p in pages() if blocks(p)]
)
def test_every_example_of_a_page_runs(page: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for reading in ("measure", "glance"):
        monkeypatch.setattr(Latency, reading, Clock.read)
    Reader(page).read()


@pytest.mark.slow
@pytest.mark.parametrize("page", WHOLE)
def test_every_example_runs_as_it_is(page: str, folder: Path) -> None:
    Reader(page, smoke=False).read()


def test_few_examples_are_not_run_and_each_says_why() -> None:
    assert {str(block): block.keys["needs"] for block in left_out() if len(block.keys["needs"]) < 5} == {}
    assert len(list(left_out())) <= 20


def test_what_changes_the_machine_runs_no_recipe() -> None:
    installing = [
        (b, line) for page in pages() for b in blocks(page) if b.language == "sh" for line in b.text.splitlines()
    ]
    assert [(str(block), line) for block, line in installing if re.match(r"\s*recipe ", line)] == []


def test_the_one_liner_the_recipe_and_its_table_are_those_of_the_repository() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "prune layers by imprint until latency<0.7; sparsify nm 2:4; distill from healthy, recovered" in readme
    shown = [block.text for block in blocks("README.md")]
    recipe = (ROOT / "recipes" / "gallery" / "layers_int8.rcp").read_text(encoding="utf-8")
    assert recipe[recipe.index("model ") :] in shown
    assert [block.text for block in blocks("docs/gallery/layers_int8.md") if block.language == "text"][0] in shown


def test_every_command_is_listed_and_every_option_named_exists() -> None:
    listed = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    commands = {name: program.get_command(click.Context(program), name) for name in COMMANDS}
    assert set(re.findall(r"^\| `recipe (\w+)", listed, re.MULTILINE)) == set(commands)
    options = {name for command in commands.values() if command for p in command.params for name in p.opts} | {"--help"}
    for page in pages():
        for command in re.findall(r"\brecipe \w+[^`\n]*", (ROOT / page).read_text(encoding="utf-8")):
            assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", command)) <= options, f"{page}: {command}"
    assert all(isinstance(command, click.Command) and command.help for command in commands.values())


@pytest.mark.parametrize("page", [*pages(), "CONTRIBUTING.md"])
def test_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    targets = re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)", text)
    assert [target for target in targets if not ((ROOT / page).parent / target).exists()] == []
