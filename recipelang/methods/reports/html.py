"""The report as one HTML page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from recipelang.catalogue import method


@method("report", "html")
@dataclass(frozen=True)
class HtmlReport:
    """The comparison report as `report.html`: one file, charts inside, nothing loaded from elsewhere.

    What: the same as `markdown`, for the screen (light and dark), phones and paper; tables are sorted and filtered by a
    script in the file, and nothing is lost where it is not run.
    When it misleads: a difference marked `≈` is within the noise of the measurement; its sign means nothing.
    """

    file: ClassVar[str] = "report.html"
    template: ClassVar[str] = "report.html.j2"
    charts: ClassVar[str] = "inline"
