"""A run in a notebook: the report in the cell, and what to do with it next."""

from __future__ import annotations

import html
import io
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recipelang.report.context import ReportContext

#: of the frame that the report is in, in pixels; it can be dragged larger
HEIGHT = 640


@dataclass(frozen=True)
class Finished:
    """What a `%%recipe` cell gives; a notebook shows it as the report.

    Attributes:
        folder: the output folder of the run, with its networks and reports.
        record: `report.json`, as `reports/report.schema.json` describes it.
        exit_code: 0 done, 3 a step failed, 4 an `expect` was not met.
        context: what its reports say.
    """

    folder: Path
    record: dict[str, Any]
    exit_code: int
    context: ReportContext

    def load(self, name: str = "main", **options: Any) -> Any:
        """A network of the run, ready to predict.

        Args:
            name: its folder in `folder`.
            options: those of `recipelang.load`: `trust`, `device`, `precision`, `batch`.
        """
        import recipelang

        return recipelang.load(self.folder / name, **options)

    def __repr__(self) -> str:
        from recipelang.report.terminal import WIDTH, Screen, print_table

        out = io.StringIO()  # no terminal, whatever a kernel says in FORCE_COLOR
        print_table(self.context, Screen(file=out, width=WIDTH, force_terminal=False, force_jupyter=False))
        return f"{out.getvalue()}{self.folder}"

    def _repr_mimebundle_(self, include: Collection[str] = (), exclude: Collection[str] = ()) -> dict[str, str]:
        """IPython's own hook: the page where it can be shown, the table elsewhere."""
        return {"text/html": framed(page(self.context, self.folder)), "text/plain": repr(self)}


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
