"""Every study has a page that names its recipe, and no page speaks of a recipe or benchmark that is not there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from recipelang.check import check
from recipelang.syntax.parse import parse

ROOT = Path(__file__).parent.parent
RECIPES = sorted((ROOT / "recipes" / "studies").glob("*.rcp"))
PAGES = sorted((ROOT / "docs" / "studies").glob("*.md"))
LINK = re.compile(r"\]\((?!https?:)([^)#]+)\)")


def test_there_are_studies() -> None:
    assert len(RECIPES) >= 5 and len(PAGES) > 5


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_is_linked_from_a_page(recipe: Path) -> None:
    linked = {(page.parent / target).resolve() for page in PAGES for target in LINK.findall(page.read_text("utf-8"))}
    assert recipe.resolve() in linked


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_has_no_mistake(recipe: Path) -> None:
    assert check(parse(recipe.read_text("utf-8"), str(recipe))).nodes


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_a_page_names_the_machine_and_links_what_is_there(page: Path) -> None:
    text = page.read_text("utf-8")
    for target in LINK.findall(text):
        assert (page.parent / target).exists(), target
    if page.name != "README.md":
        assert re.search(r"torch \d+\.\d+", text) and "cores" in text
        assert re.search(r"\b(holds here|does not hold here|cannot be decided|was not met|was met)", text)
