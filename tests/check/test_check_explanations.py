"""Every page of this room's codes: its wrong recipe is refused with that code, its right one is a plan."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import recipelang
from recipelang.check import check
from recipelang.errors import RecipeError
from recipelang.syntax.parse import parse

ROOT = Path(recipelang.__file__).parent
#: these are about installed packages: tests/test_contributing.py
OF_PLUG_INS = {"RCP0252", "RCP0253", "RCP0254", "RCP0255"}
PAGES = sorted(p for p in (ROOT / "explanations").glob("RCP0[2-6]*.md") if p.stem not in OF_PLUG_INS)
BLOCKS = re.compile(r"(Wrong|Right):\n\n```\n(.*?)\n```", re.DOTALL)
COMMANDS = {"RCP0208", "RCP0211"}  # these need a command line or a second file


def codes_of(text: str) -> set[str]:
    """Every code that checking the text gives, warnings included."""
    try:
        return {d.code for d in check(parse(text)).warnings}
    except RecipeError as error:
        return {d.code for d in error.diagnostics}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_examples_of_a_page_do_what_it_says(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    blocks = dict(BLOCKS.findall(text))
    assert text.startswith(f"# {page.stem}: ") and set(blocks) == {"Wrong", "Right"}
    if page.stem not in COMMANDS:
        assert page.stem in codes_of(blocks["Wrong"])
        assert codes_of(blocks["Right"]) == set()


def test_every_code_has_a_page_and_every_page_a_code() -> None:
    sources = [*(ROOT / "meaning").glob("*.py"), *(ROOT / "verbs").glob("*.py"), ROOT / "check.py"]
    raised = {code for file in sources for code in re.findall(r'"(RCP0[2-6]\d\d)"', file.read_text(encoding="utf-8"))}
    assert raised == {page.stem for page in PAGES}
