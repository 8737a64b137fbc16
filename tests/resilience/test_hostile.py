"""Recipes and class names from elsewhere: nothing runs, nothing is written outside, nothing speaks in the report."""

from __future__ import annotations

import os
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy
import pytest
from PIL import Image

from recipelang.check import check
from recipelang.errors import RecipeError
from recipelang.report.page import script
from recipelang.syntax.parse import parse

HEAD = "model digits_resnet\ndata digits\ntrain for 1 steps\n"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("prune \x1b[31mlayers by imprint", "RCP0116"),
        ("prune layers by \u202eimprint\u202c until latency < 0.7", "RCP0116"),
        ("prune 1 layers by magnitude\n" * 200_000, "RCP0118"),
        ("prune layers by " + "a" * 3_000_000, "RCP0118"),
        ("repeat 2 times {\n" * 5000 + "}\n" * 5000, "RCP0118"),
        ("prune layers by " + "a(" * 5000 + ")" * 5000, "RCP0118"),
        (HEAD + "repeat 2 times {\n" * 30 + "prune 1 layers by random\n" + "}\n" * 30, "RCP0415"),
        (HEAD + "".join(f"sweep x{i} in 1..9 {{\n" for i in range(9)) + "keep as a\n" + "}\n" * 9, "RCP0415"),
        (HEAD + "a\n" * 3000, "RCP0201"),
        (HEAD + "prune 1 layers by $x\n" * 1000, "RCP0206"),
        ("prune " + "9" * 5000 + " layers by random", "RCP0109"),
    ],
)
def test_a_monstrous_recipe_is_refused_in_short(text: str, code: str) -> None:
    with pytest.raises(RecipeError) as refused:
        check(parse(text))
    assert code in {d.code for d in refused.value.diagnostics}
    assert len(refused.value.diagnostics) <= 101


@pytest.mark.parametrize(
    "text",
    [
        'export safetensors to "../../x"',
        'export safetensors to "/x"',
        'report markdown to "a/../../b"',
    ],
)
def test_nothing_is_written_outside(recipe, tmp_path: Path, text: str) -> None:  # type: ignore[no-untyped-def]
    ended = recipe("run", "-e", f"{HEAD}prune 1 layers by random\nmeasure params\n{text}", "--out", "out")
    assert ended.code == 1
    assert f"6 | {text}\n" in ended.err
    assert "error[RCP0912]" in ended.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "why"), [("zero.rcp", "it is not a file"), ("pipe.rcp", "it is not a file"), ("none.rcp", "")]
)
def test_a_used_file_without_an_end_is_not_waited_for(recipe, tmp_path: Path, name: str, why: str) -> None:  # type: ignore[no-untyped-def]
    os.mkfifo(tmp_path / "pipe.rcp")
    (tmp_path / "zero.rcp").symlink_to("/dev/zero")
    ended = recipe("check", "-e", f'use "{name}"')
    assert ended.code == 1
    assert f"error[RCP0211]: `{name}` cannot be read: {why}" in ended.err


def test_files_that_use_files_do_not_multiply(recipe, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    for i in range(40):
        (tmp_path / f"{i}.rcp").write_text(f'use "{i + 1}.rcp"\n' * 2)
    (tmp_path / "40.rcp").write_text("measure params\n")
    ended = recipe("check", "0.rcp")
    assert ended.code == 1
    assert "more than 100 files are used" in ended.err


class Speech(HTMLParser):
    """Tags and attributes by which a page could act."""

    def __init__(self) -> None:
        super().__init__()
        self.acts: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "iframe", "object", "embed", "form", "base", "link"):
            self.acts.append(tag)
        for name, value in attributes:
            foreign = name in ("src", "href") and not (value or "").startswith(("data:", "#", "figures/"))
            if name.startswith("on") or foreign:
                self.acts.append(f"{tag} {name}={value}")


def test_names_from_elsewhere_stay_text(recipe, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    chance = numpy.random.default_rng(0)
    for label in ("<script>alert(1)<", "..%2f..", "](javascript:alert(2)) | x"):
        folder = tmp_path / "photos" / label
        folder.mkdir(parents=True)
        for i in range(12):
            Image.fromarray(chance.integers(0, 255, (8, 8, 3), dtype=numpy.uint8)).save(folder / f"{i}.png")
    (tmp_path / "<b onclick=x>.rcp").write_text(
        'model digits_resnet\ndata folder("photos", size=8, batch=4) # </pre><script>alert(3)</script>\n'
        'train for 1 steps\nsweep p in "../../x", "<img src=x onerror=alert(4)>" {\n  prune 1 layers by random\n'
        "  keep as state\n}\nmeasure params\n"
    )
    ended = recipe("run", "<b onclick=x>.rcp", "--out", "out")
    assert ended.code == 0, ended.err
    page = (tmp_path / "out/report.html").read_text()
    speech = Speech()
    ours = f"<script>{script()}</script>"  # the one that the policy allows
    assert page.count(ours) == 1
    speech.feed(page.replace(ours, ""))
    assert speech.acts == []
    assert re.search(r'<meta http-equiv="Content-Security-Policy" content="default-src \'none\'', page)
    written = {
        p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if not p.is_relative_to(tmp_path / ".recipe")
    }
    assert {w.split("/")[0] for w in written} == {"out", "photos", "<b onclick=x>.rcp"}
    variants = sorted(p.name for p in (tmp_path / "out").iterdir() if p.is_dir() and p.name != "figures")
    assert len(variants) == 2
    assert all(re.fullmatch(r"[\w=.,-]+", name) for name in variants)
