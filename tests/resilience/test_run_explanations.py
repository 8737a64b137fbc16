"""The pages of what fails only when it runs: both recipes read well, because no check could have told them apart."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import recipelang
from recipelang.check import check
from recipelang.syntax.parse import parse

PAGES = sorted((Path(recipelang.__file__).parent / "explanations").glob("RCP09*.md"))
RECIPES = [
    pytest.param(recipe, id=f"{page.stem}-{which}")
    for page in PAGES
    for which, recipe in re.findall(r"(Wrong|Right):\n\n```\n(.*?)\n```", page.read_text(encoding="utf-8"), re.DOTALL)
]


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_examples_are_recipes_without_a_mistake(recipe: str) -> None:
    assert [d.code for d in check(parse(recipe)).warnings] == []
