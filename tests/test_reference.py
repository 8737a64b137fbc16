"""The generated reference in docs/ matches the cards."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from recipelang import reference, verbs
from recipelang.catalogue import FOLDERS, names

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    "name",
    [
        "docs/catalogue.md",
        "docs/verbs.md",
        "docs/methods.md",
        "docs/errors.md",
        "editors/vscode/recipe.tmLanguage.json",
    ],
)
def test_the_reference_is_up_to_date(name: str) -> None:
    assert (ROOT / name).read_text(encoding="utf-8") == reference.pages()[name], "run `make docs`"


def test_the_catalogue_links_every_card() -> None:
    pages = reference.pages()
    linked = re.findall(r"\[`(\w+)`\]\((\w+\.md)#(\w+)\)", pages["docs/catalogue.md"])
    assert {name for name, _, _ in linked} == {*verbs.names(), *(n for kind in FOLDERS for n in names(kind))}
    assert [
        name for name, page, at in linked if not re.search(rf"^##+ {at}$", pages[f"docs/{page}"], re.MULTILINE)
    ] == []


def test_nothing_is_left_out() -> None:
    pages = reference.pages()
    assert [verb for verb in verbs.names() if f"\n## {verb}\n" not in pages["docs/verbs.md"]] == []
    assert [n for kind in FOLDERS for n in names(kind) if f"\n### {n}\n" not in pages["docs/methods.md"]] == []


def test_prose_is_no_markup_and_code_stays_code() -> None:
    assert reference._prose("a*b `c*d` <e> weight_decay") == r"a\*b `c*d` \<e> weight_decay"


def test_the_pages_are_written(tmp_path: Path) -> None:
    reference.main(tmp_path)
    assert {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*.*")} == set(reference.pages())
