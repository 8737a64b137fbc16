"""Recipes that are wrong, each with every message that it gets; recipes that are right, each with its plan.

A case is `=== title`, the recipe, `---`, what comes out. Lists of names that grow with the catalogue are cut off.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from recipelang.check import check
from recipelang.errors import RecipeError, render
from recipelang.plan import Branch, Node, Step
from recipelang.syntax.parse import parse

CASES = Path(__file__).parent.parent / "cases" / "check"
GROWING = re.compile(r"( here:| by| over|verbs:) `?[a-z_0-9]+`?,.*")


def cases(folder: Path) -> list[tuple[str, str, str]]:
    """(title, recipe, expected) of every case in the files of a folder."""
    texts = [file.read_text(encoding="utf-8") for file in sorted(folder.glob("*.txt"))]
    found = [part.split("\n", 1) for text in texts for part in re.split(r"(?:^|\n)=== ", text)[1:]]
    return [(title, *body.split("---\n", 1)) for title, body in found]  # type: ignore[misc]


WRONG, RIGHT = cases(CASES), cases(CASES / "plans")


def messages(text: str) -> str:
    """Every diagnostic of a recipe as the user reads it."""
    try:
        check(parse(text, "recipe.rcp"))
    except RecipeError as error:
        return "\n".join(render(d, text) for d in error.diagnostics)
    return "the recipe is right"


def lines(nodes: tuple[Node, ...], indent: str = "") -> Iterator[str]:
    """A plan as text: `*` marks implied steps."""
    for node in nodes:
        if isinstance(node, Step):
            yield f"{indent}{'*' if node.implied else '-'} {node.text}"
        elif isinstance(node, Branch):
            for variant in node.variants:
                yield f"{indent}variant {variant.name}"
                yield from lines(variant.body, indent + "  ")
        else:
            yield indent + node.text
            yield from lines(node.body, indent + "  ")


def cut(text: str) -> str:
    """The text without lists that grow with the catalogue."""
    return GROWING.sub(r"\1 …", text).strip()


@pytest.mark.parametrize(("recipe", "expected"), [c[1:] for c in WRONG], ids=[c[0] for c in WRONG])
def test_a_wrong_recipe_is_refused_with_these_words(recipe: str, expected: str) -> None:
    assert cut(messages(recipe)) == cut(expected)


@pytest.mark.parametrize(("recipe", "expected"), [c[1:] for c in RIGHT], ids=[c[0] for c in RIGHT])
def test_a_right_recipe_becomes_this_plan(recipe: str, expected: str) -> None:
    plan = check(parse(recipe, "recipe.rcp"))
    warnings = [render(w, recipe) for w in plan.warnings]
    assert "\n".join([*lines(plan.nodes), *warnings]) == expected.strip()


def test_titles_are_unique_and_the_cases_are_many() -> None:
    titles = [c[0] for c in (*WRONG, *RIGHT)]
    assert len(set(titles)) == len(titles) and len(WRONG) >= 70


def test_checking_never_imports_torch() -> None:
    program = """
import sys
from test_check_cases import RIGHT, WRONG, messages
from recipelang import vocabulary
for _, recipe, _ in (*RIGHT, *WRONG):
    messages(recipe)
    assert "torch" not in sys.modules, recipe
vocabulary.catalogue_json()
for word in (*vocabulary.verbs(), "magnitude", "mis", "RCP0605"):
    assert vocabulary.explain(word), word
assert not {"torch", "torchvision"} & set(sys.modules)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
