"""The site is built without a warning, opens from disk, and shows what lies outside docs/."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("material", reason="needs the extra `docs`")

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_nothing_is_fetched(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r"<(?:script|link|img|iframe)[^>]*?(?:src|href)=\"?(https?://[^\"\s>]+)", text)
        assert [url for url in loaded if "canonical" not in url] == [], page.name


def test_recipes_are_coloured_and_fences_have_their_titles(site: Path) -> None:
    text = (site / "language.html").read_text(encoding="utf-8")
    assert re.search(r'<span class="k">prune</span>', text) and 'class="filename">wrong.rcp<' in text
    assert "```" not in text and 'wrong="' not in text


def test_files_outside_docs_are_pages(site: Path) -> None:
    assert "A method in one file" in (site / "contributing.html").read_text(encoding="utf-8")
    study = (site / "studies" / "binary.html").read_text(encoding="utf-8")
    assert "files/recipes/studies/binary.rcp.html" in study
    assert '<span class="k">quantize</span>' in (site / "files/recipes/studies/binary.rcp.html").read_text("utf-8")


def test_no_code_of_the_site_is_published(site: Path) -> None:
    assert [*site.rglob("*.py")] == []
