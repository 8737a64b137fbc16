"""The extension for VS Code: its parts fit together, its snippets are recipes, its client reaches the server."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

import recipelang
from recipelang.check import check
from recipelang.syntax.parse import parse
from recipelang.syntax.roles import roles
from recipelang.textmate import SCOPES

ROOT = Path(__file__).parent.parent.parent
EXTENSION = ROOT / "editors" / "vscode"
MANIFEST = json.loads((EXTENSION / "package.json").read_text(encoding="utf-8"))
SNIPPETS = json.loads((EXTENSION / "snippets.json").read_text(encoding="utf-8"))
#: what the text around a snippet must have, so that it is a whole recipe
BEFORE = {
    "a sweep": "model digits_resnet\ndata digits\n",
    "a promise that a run must keep": "prune 1 layer by imprint\n",
    "a value with a name": "prune 1 layer by imprint\n",
    "my own images and a network of torchvision": "",
}
AFTER = {"a value with a name": "\nfinetune for 1 epoch with $tune\n"}
NODE = shutil.which("node")
TOOLS = EXTENSION / "node_modules"


def filled(body: list[str]) -> str:
    """A snippet as it is before anything is typed into it."""
    text = re.sub(r"\$\{\d+:([^}]*)\}", r"\1", "\n".join(body))
    return re.sub(r"(?<!\\)\$\d", "", text).replace("\\$", "$")


@pytest.mark.parametrize("name", SNIPPETS)
def test_a_snippet_is_a_recipe(name: str) -> None:
    text = BEFORE.get(name, "") + filled(SNIPPETS[name]["body"]) + AFTER.get(name, "")
    plan = check(parse(text))
    assert plan.nodes and SNIPPETS[name]["description"] and SNIPPETS[name]["prefix"]


def test_the_version_is_that_of_the_package() -> None:
    lock = json.loads((EXTENSION / "package-lock.json").read_text(encoding="utf-8"))
    assert {MANIFEST["version"], lock["version"], lock["packages"][""]["version"]} == {recipelang.__version__}
    for kind in ("dependencies", "devDependencies"):
        assert lock["packages"][""][kind] == MANIFEST[kind], "npm install --package-lock-only"


def test_every_file_that_it_names_is_there() -> None:
    parts = MANIFEST["contributes"]
    named = [MANIFEST["main"], *(part["path"] for kind in ("grammars", "snippets") for part in parts[kind])]
    named += [language["configuration"] for language in parts["languages"]]
    assert [name for name in named if not (EXTENSION / name).is_file()] == []
    assert parts["languages"][0]["id"] == parts["grammars"][0]["language"] == parts["snippets"][0]["language"]


def test_its_commands_and_settings_are_used() -> None:
    code = (EXTENSION / "extension.js").read_text(encoding="utf-8")
    commands = {command["command"] for command in MANIFEST["contributes"]["commands"]}
    assert set(re.findall(r'registerCommand\("([^"]+)"', code)) == commands
    assert set(MANIFEST["contributes"]["configuration"]["properties"]) == {
        "recipelang.command",
        "recipelang.trace.server",  # read by the client library, by the client's own name
    }
    assert 'new LanguageClient("recipelang"' in code and '.get("command", [])' in code


def test_brackets_and_words_are_those_of_the_language() -> None:
    told: dict[str, Any] = json.loads((EXTENSION / "language-configuration.json").read_text(encoding="utf-8"))
    word = re.compile(told["wordPattern"])
    assert word.findall("prune") and word.match("$tune")[0] == "$tune" and word.match("70% ")[0] == "70%"  # type: ignore[index]
    assert told["comments"] == {"lineComment": "#"}
    for rule in told["indentationRules"].values():
        re.compile(rule)
    assert re.match(told["indentationRules"]["increaseIndentPattern"], "repeat 2 times {  # twice")
    assert not re.match(told["indentationRules"]["increaseIndentPattern"], "# a {")


@pytest.mark.skipif(NODE is None, reason="needs node")
def test_the_command_is_found() -> None:
    done = subprocess.run([str(NODE), "--test", "test/"], cwd=EXTENSION, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert re.search(r"^# pass [1-9]", done.stdout, re.MULTILINE)


@pytest.mark.skipif(NODE is None or not TOOLS.is_dir(), reason="needs `npm ci` in editors/vscode")
def test_the_engine_of_editors_colours_every_word_by_its_role(tmp_path: Path) -> None:
    """What tests/test_textmate.py says with Python's expressions, with those that VS Code uses."""
    files = []
    for recipe in sorted((ROOT / "recipes").rglob("*.rcp")):
        file = tmp_path / "-".join(recipe.relative_to(ROOT / "recipes").parts)
        file.write_text(asserted(recipe.read_text(encoding="utf-8")), encoding="utf-8")
        files.append(str(file))
    tester = TOOLS / "vscode-tmgrammar-test" / "dist" / "unit.js"
    grammar = EXTENSION / "recipe.tmLanguage.json"
    command = [str(NODE), str(tester), "--compact", "-g", str(grammar), *files]
    done = subprocess.run(command, cwd=EXTENSION, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:]
    assert done.stdout.count("✓") == len(files) > 10
    wrong = tmp_path / "wrong.rcp"
    wrong.write_text('# SYNTAX TEST "source.recipe"\nprune layers\n#     ^^^^^^ keyword.other.verb.recipe\n')
    assert subprocess.run([*command[:5], str(wrong)], cwd=EXTENSION, capture_output=True).returncode != 0


def asserted(text: str) -> str:
    """A recipe with the scope of every word under its line, as vscode-tmgrammar-test reads it."""
    under: dict[int, list[str]] = {}
    for token, role in roles(text):
        if role in SCOPES:
            arrows = f"#{' ' * (token.column - 2)}{'^' * len(token.text)}"
            if token.column == 1:  # an arrow from the column of the comment itself
                arrows = f"#<{'-' * len(token.text)}" if len(token.text) > 1 else "#<-"
            under.setdefault(token.line, []).append(f"{arrows} {SCOPES[role]}")
    lines = ['# SYNTAX TEST "source.recipe"']
    for number, line in enumerate(text.split("\n"), 1):
        lines += [line, *under.get(number, ())]
    return "\n".join(lines)
