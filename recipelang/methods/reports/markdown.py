"""The report as Markdown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from recipelang.catalogue import method


@method("report", "markdown")
@dataclass(frozen=True)
class MarkdownReport:
    """The comparison report as `report.md`, charts as SVG files beside it.

    What: the summary in words, variants against healthy and control with intervals, verdicts of `expect`, the steps
    with what was requested and reached, how layers execute, importance rankings, training curves, recipe and machine.
    When it misleads: a difference marked `≈` is within the noise of the measurement; its sign means nothing.
    """

    file: ClassVar[str] = "report.md"
    template: ClassVar[str] = "report.md.j2"
    charts: ClassVar[str] = "files"
