"""Every recipe of the gallery checks, runs where its data is in the package, and has a page that shows it as it is."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from recipelang.methods.metrics.latency import Latency
from tests.guides.examples import Clock, called

ROOT = Path(__file__).parent.parent.parent
RECIPES = sorted((ROOT / "recipes" / "gallery").glob("*.rcp"))
PAGES = ROOT / "docs" / "gallery"
#: what a recipe takes from elsewhere: files of the reader, a GPU
ELSEWHERE = re.compile(r'"(?:photos|[^"]*\.safetensors|cuda)"|^data\s+(?:cifar10|csv|folder)', re.MULTILINE)
EMBEDDED = [path for path in RECIPES if not ELSEWHERE.search(path.read_text(encoding="utf-8"))]


def test_there_are_ten_with_a_report() -> None:
    assert len([path for path in RECIPES if (PAGES / f"{path.stem}.md").is_file()]) >= 10
    assert len(EMBEDDED) >= 8


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_checks_and_is_formatted(path: Path) -> None:
    assert called(["check", str(path)])[0] == 0
    assert called(["fmt", "--check", str(path)])[0] == 0


@pytest.mark.slow
@pytest.mark.parametrize("path", EMBEDDED, ids=lambda path: path.stem)
def test_a_recipe_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for reading in ("measure", "glance"):
        monkeypatch.setattr(Latency, reading, Clock.read)
    text = path.read_text(encoding="utf-8")
    copy = tmp_path / "recipes" / "gallery" / path.name
    copy.parent.mkdir(parents=True)
    copy.write_text(text, encoding="utf-8")
    for file in re.findall(r'python\("([\w.]+):', text):
        shutil.copy(path.parent / file, copy.parent)
    if 'artifact("../../runs/quickstart-1' in text:
        assert called(["run", "--smoke", str(ROOT / "recipes" / "quickstart.rcp")])[0] in (0, 4)
    code, said = called(["run", "--smoke", "--trust", str(copy), "--out", "out"])
    assert code in (0, 4), said  # a few batches teach nothing: `expect` may be missed


@pytest.mark.parametrize("page", sorted(PAGES.glob("*.md")), ids=lambda page: page.stem)
def test_a_page_shows_the_recipe_and_says_where_it_ran(page: Path) -> None:
    if page.stem == "README":
        return
    text = page.read_text(encoding="utf-8")
    recipe = (ROOT / "recipes" / "gallery" / f"{page.stem}.rcp").read_text(encoding="utf-8")
    (shown,) = re.findall(r"^```recipe\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert shown.strip() and recipe.rstrip().endswith(shown.rstrip())
    assert re.search(r"cores.*torch \d", text, re.DOTALL)
    assert [name for name in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text) if not (PAGES / name).is_file()] == []
