"""The comparison as LaTeX tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from recipelang.catalogue import method


@method("report", "latex")
@dataclass(frozen=True)
class LatexReport:
    """The comparison as LaTeX tables in `report.tex`, which need the package `booktabs` alone.

    What: variants against healthy and control, the best of each column in bold, then what was expected, what was asked
    for and reached, how layers execute, and what each network cost to make; in a paper, `\\input{report}`. Tables that
    would not fit on a page are split. Letters that the fonts of pdfLaTeX lack are printed as their numbers (U+4E2D).
    When it misleads: a difference marked `≈` is within the noise of the measurement; its sign means nothing.
    """

    file: ClassVar[str] = "report.tex"
    template: ClassVar[str] = "report.tex.j2"
    charts: ClassVar[str] = ""
