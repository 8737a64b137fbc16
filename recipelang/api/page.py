"""A report as a page within another one."""

from __future__ import annotations

import html
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recipelang.report.context import ReportContext

#: of the frame that the report is in, in pixels; it can be dragged larger
HEIGHT = 640


def page(context: ReportContext, folder: Path) -> str:
    """The report as HTML: the file of the run, and made again where the recipe asks for other forms alone."""
    from recipelang.report.forms import form_of
    from recipelang.report.render import render

    card: Any = form_of("html")
    written = folder / card.file
    if written.is_file():
        return written.read_text(encoding="utf-8")
    return render(context, "html")[card.file]


def framed(document: str) -> str:
    """A page inside another one, from which it is kept apart.

    Its own script may run, under the page's own policy; it has no access to the notebook, to its cookies, or to the
    network, and opens nothing.
    """
    return (
        f'<iframe title="report" sandbox="allow-scripts" srcdoc="{html.escape(document)}" '
        f'style="width: 100%; height: {HEIGHT}px; border: 1px solid #8888; resize: vertical; overflow: auto"></iframe>'
    )
