"""LaTeX: text of any kind, and tables that compile."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from held import INPUTS, texts
from hypothesis import given
from hypothesis import strategies as st

from recipelang.report.latex import broken, latex


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
def test_text_in_latex_is_ascii_without_live_commands(text: str) -> None:
    for shown in (latex(text), broken(text)):
        assert shown.isascii() and "\n" not in shown
        bare = re.sub(r"\\[{}]", "", shown)
        assert bare.count("{") == bare.count("}")
        commands = set(re.findall(r"\\([A-Za-z]+)", shown))
        assert not commands & {"input", "end", "begin", "write", "def", "catcode", "include", "csname"}
        assert not re.search(r"(?<!\\)[&#%_]", re.sub(r"\\.", "", shown))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a_b & 5% {x}", r"a\_b \& 5\% \{x\}"),
        ("−0.4 … +0.2 ≈ 0.68×", r"$-$0.4 \ldots{} +0.2 $\approx$ 0.68$\times$"),
        ("0.67–0.69", "0.67--0.69"),
        ("--fail-if", "-{}-fail-if"),
        ("é ñ ß ø", r"\'{e} \~{n} \ss{} \o{}"),
        ("e\u0301", r"\'{e}"),
        ("中", r"\texttt{U+4E2D}"),
        ("a\n b", "a b"),
        ("''", "'{}'"),
    ],
)
def test_text_in_latex(text: str, shown: str) -> None:
    assert latex(text) == shown


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="pdflatex is not installed")
@pytest.mark.parametrize("held", ["latex", "letters", "bars", "a long name in words", "thousand letters"])
def test_the_tables_compile_with_booktabs_alone(
    held: str, main_record: dict[str, Any], texts_changed: Any, tmp_path: Path
) -> None:
    (tmp_path / "report.tex").write_text(texts(INPUTS[held](main_record, texts_changed), "latex")["report.tex"])
    lines = (r"\documentclass{article}", r"\usepackage{booktabs}", r"\begin{document}", r"\input{report}")
    (tmp_path / "paper.tex").write_text("\n".join((*lines, r"\end{document}")))
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "paper.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stdout[-2000:].decode(errors="replace")
    assert (tmp_path / "paper.pdf").stat().st_size > 10_000
