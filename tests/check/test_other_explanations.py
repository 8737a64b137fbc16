"""The right example of every other page, where it is a recipe: what the page advises is no mistake elsewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import recipelang
from recipelang import verbs
from recipelang.check import check
from recipelang.errors import RecipeError
from recipelang.syntax.parse import parse

#: pages whose both examples are checked in test_check_explanations.py and test_run_explanations.py
ELSEWHERE = re.compile(r"RCP0[2-69]")
RIGHT = re.compile(r"^Right:\n\n```\n(.*?)\n```", re.DOTALL | re.MULTILINE)
#: `$shrink` is given by the notebook around the recipe
GIVEN = {"RCP1250"}
STAND_INS = {"model": "model digits_resnet", "data": "data digits"}


def recipes() -> list[tuple[str, str]]:
    """(code, recipe) of the pages whose right example begins with a verb; others are Python, tables and shells."""
    words = set(verbs.names()) | {"let", "repeat", "variant"}
    found = []
    for page in sorted((Path(recipelang.__file__).parent / "explanations").glob("RCP*.md")):
        for text in RIGHT.findall(page.read_text(encoding="utf-8")):
            first = next((line for line in text.splitlines() if line and not line.startswith("#")), "")
            if not ELSEWHERE.match(page.stem) and page.stem not in GIVEN and first.partition(" ")[0] in words:
                found.append((page.stem, text))
    return found


def whole(text: str) -> str:
    """A fragment with the model or the data that it leaves out."""
    lines = text.splitlines()
    first = {word: k for k, line in reversed([*enumerate(lines)]) if (word := line.partition(" ")[0]) in STAND_INS}
    if len(first) == 1:
        ((word, place),) = first.items()
        other = STAND_INS["data" if word == "model" else "model"]
        lines.insert(place, "model srresnet" if "task superresolution" in lines else other)
    return "\n".join(lines)


@pytest.mark.parametrize(("code", "text"), recipes(), ids=[code for code, _ in recipes()])
def test_what_a_page_advises_is_a_recipe(code: str, text: str) -> None:
    try:
        assert code not in [one.code for one in check(parse(whole(text))).warnings]
    except RecipeError as error:
        pytest.fail(str(error))


#: those that name a network and data that the package brings, so that they can be looked at
EMBEDDED = [
    pytest.param(text, id=code)
    for code, text in recipes()
    if re.search(r"^model +digits_", text, re.MULTILINE) and re.search(r"^data +digits\b", text, re.MULTILINE)
]


@pytest.mark.parametrize("text", EMBEDDED)
def test_what_a_page_advises_about_an_embedded_network_can_be_planned(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert [problem.code for problem in recipelang.plan(text).problems] == []


def test_most_pages_advise_a_recipe() -> None:
    assert len(recipes()) > 100
