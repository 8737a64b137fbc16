"""docs/editors.md says what is true: its blocks can be read, its names exist, its commands work."""

from __future__ import annotations

import json
import plistlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from recipelang.api.values import literal
from recipelang.check import check
from recipelang.syntax.parse import parse

ROOT = Path(__file__).parent.parent.parent
GUIDE = (ROOT / "docs" / "editors.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
SHELL = "\n".join(text for kind, text in BLOCKS if kind == "sh").replace("\\\n", "")


@pytest.mark.parametrize("kind, text", [block for block in BLOCKS if block[0] in ("toml", "json", "yaml")])
def test_a_block_can_be_read(kind: str, text: str) -> None:
    assert {"toml": tomllib.loads, "json": json.loads, "yaml": yaml.safe_load}[kind](text)


def test_the_hooks_and_the_inputs_exist() -> None:
    hooks, steps = (yaml.safe_load(text) for kind, text in BLOCKS if kind == "yaml")
    known = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    assert {hook["id"] for hook in hooks["repos"][0]["hooks"]} == {hook["id"] for hook in known}
    action = yaml.safe_load((ROOT / "editors" / "github" / "action.yml").read_text(encoding="utf-8"))
    used = steps["steps"][1]
    assert set(used["with"]) | set(re.findall(r"`(\w+): (?:\"false\"|full|none)`", GUIDE)) <= set(action["inputs"])
    folder = used["uses"].split("@")[0].split("/", 2)[2]
    assert (ROOT / folder / "action.yml").is_file()


def test_the_cell_is_a_recipe() -> None:
    ((line, recipe),) = (text.split("\n", 1) for _, text in BLOCKS if text.startswith("%%recipe"))
    assert line == "%%recipe --as smaller"
    assert check(parse(f"let limit = {literal('limit', 0.7)}\n{recipe}")).nodes


def test_extras_and_version_are_those_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(re.findall(r"recipelang\[(\w+)\]", GUIDE)) <= set(project["optional-dependencies"])
    manifest = json.loads((ROOT / "editors" / "vscode" / "package.json").read_text(encoding="utf-8"))
    assert f"{manifest['name']}-{manifest['version']}.vsix" in SHELL


def test_the_grammar_becomes_a_property_list() -> None:
    (program,) = re.findall(r'python -c "([^"]+)"', SHELL)
    grammar = (ROOT / "editors" / "vscode" / "recipe.tmLanguage.json").read_bytes()
    done = subprocess.run([sys.executable, "-c", program], input=grammar, capture_output=True, check=True)
    assert plistlib.loads(done.stdout) == json.loads(grammar)


def test_the_lexer_is_found_from_the_shell() -> None:
    (words,) = re.findall(r"python (-m pygments .*)", SHELL)
    done = subprocess.run([sys.executable, *words.split()], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and "\x1b[" in done.stdout and "imprint" in done.stdout


@pytest.mark.parametrize("page", ["docs/editors.md", "editors/README.md", "editors/vscode/README.md"])
def test_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    targets = re.findall(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)", text)
    assert [target for target in targets if not ((ROOT / page).parent / target).exists()] == []
