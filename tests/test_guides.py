"""README.md and the guides in docs/ are correct: recipes check, answers are as printed, links have a target."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from recipelang.cli import COMMANDS, main
from recipelang.cli import recipe as program

ROOT = Path(__file__).parent.parent
GUIDES = ("README.md", "docs/language.md", "docs/profile.md", "docs/reports.md", "docs/kernels.md")
BLOCK = re.compile(r"^```(?P<info>[^\n]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(guide: str) -> list[tuple[str, str]]:
    """(info, text) of every fenced block, in order."""
    found = BLOCK.finditer((ROOT / guide).read_text(encoding="utf-8"))
    return [(match["info"], match["text"]) for match in found]


RIGHT = [(guide, text) for guide in GUIDES for info, text in blocks(guide) if info == "recipe"]
WRONG = [
    (info.split()[2], text, answer)
    for guide in GUIDES
    for (info, text), (_, answer) in zip(blocks(guide), blocks(guide)[1:], strict=False)
    if info.startswith("recipe wrong ")
]
SHELL = [text for guide in GUIDES for info, text in blocks(guide) if info == "sh"]


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):  # type: ignore[no-untyped-def]
    """Check a recipe under a name, in its own folder: (exit code, stderr)."""
    monkeypatch.chdir(tmp_path)

    def checked(name: str, text: str) -> tuple[int, str]:
        (tmp_path / name).write_text(text, encoding="utf-8")
        with pytest.raises(SystemExit) as left:
            main(["check", name])
        return int(left.value.code or 0), capsys.readouterr().err

    return checked


def test_the_guides_have_recipes_of_both_kinds() -> None:
    assert {guide for guide, _ in RIGHT} == {"README.md", "docs/language.md", "docs/kernels.md"}
    assert len(WRONG) >= 2


@pytest.mark.parametrize(("guide", "text"), RIGHT)
def test_a_recipe_is_right_without_a_warning(check, guide: str, text: str) -> None:  # type: ignore[no-untyped-def]
    assert check("guide.rcp", text) == (0, ""), guide


@pytest.mark.parametrize(("name", "text", "answer"), WRONG)
def test_a_wrong_recipe_gets_the_answer_shown(check, name: str, text: str, answer: str) -> None:  # type: ignore[no-untyped-def]
    code, said = check(name, text)
    assert (code, said.strip()) == (1, answer.strip())


def test_the_one_liner_and_the_quickstart_are_those_of_the_repository() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "prune layers by imprint until latency<0.7; sparsify nm 2:4; distill from healthy, recovered" in readme
    quickstart = (ROOT / "recipes" / "quickstart.rcp").read_text(encoding="utf-8")
    assert quickstart.partition("\n")[2] in [text for _, text in RIGHT]


def test_every_command_is_listed_and_every_option_named_exists() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = {name: program.get_command(click.Context(program), name) for name in COMMANDS}
    assert set(re.findall(r"^\| `recipe (\w+)", readme, re.MULTILINE)) == set(commands)
    options = {name for command in commands.values() if command for p in command.params for name in p.opts} | {"--help"}
    for guide in GUIDES[:-1]:  # the page on kernels names options of a benchmark
        text = (ROOT / guide).read_text(encoding="utf-8")
        named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", re.sub(r"<!--|-->", "", text)))
        assert named <= options, guide
    assert all(isinstance(command, click.Command) and command.help for command in commands.values())


@pytest.mark.parametrize("guide", [*GUIDES, "CONTRIBUTING.md"])
def test_links_lead_somewhere(guide: str) -> None:
    text = (ROOT / guide).read_text(encoding="utf-8")
    targets = re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)", text)
    assert [target for target in targets if not ((ROOT / guide).parent / target).exists()] == []
