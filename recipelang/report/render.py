"""From context to files: each form is a card in the catalogue and a template in `reports/`."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from recipelang import catalogue, paths
from recipelang.errors import Refusal, nearest
from recipelang.files import below, write_text
from recipelang.report import escape, words
from recipelang.report.chart import Charts
from recipelang.report.context import ReportContext, table
from recipelang.report.page import policy, script, style
from recipelang.report.parts import steps_anchor
from recipelang.report.plots import charts
from recipelang.report.summary import signs
from recipelang.report.svg import palette, standalone
from recipelang.units import counted, listed

SHORT = {"md": "markdown"}


def form_of(name: str) -> type:
    """The card of a form: `markdown` (or `md`), `html`, `csv`.

    Raises:
        Refusal: RCP1105: there is no such form.
    """
    card = catalogue.find("report", SHORT.get(name, name))
    if card is None:
        known = catalogue.names("report")
        like = nearest(name, known)
        help = f"did you mean `{like}`?" if like else f"the forms are {', '.join(f'`{k}`' for k in known)}"
        raise Refusal("RCP1105", f"there is no report form `{name}`", help)
    return card


def render(context: ReportContext, form: str) -> dict[str, str]:
    """The files of a report in one form: path under the report's folder → text.

    The same context gives the same bytes.

    Raises:
        Refusal: RCP1105: there is no such form.
    """
    card: Any = form_of(form)
    drawn = charts(context) if card.charts else Charts()
    files = {card.file: _text(card, context, drawn)}
    if card.charts == "files":
        files |= {f"figures/{chart.name}.svg": standalone(chart.svg) for chart in drawn.all}
    return files


def alone(context: ReportContext, form: str) -> str:
    """A form as one text, to be pasted or piped: without the files beside it, and so without images that are files.

    Raises:
        Refusal: RCP1105: there is no such form.
    """
    card: Any = form_of(form)
    return _text(card, context, charts(context) if card.charts == "inline" else Charts())


def _text(card: Any, context: ReportContext, drawn: Charts) -> str:
    template = _environment().get_template(card.template)
    return template.render(context=context, charts=drawn, table=table(context))


def write(context: ReportContext, forms: Iterable[str], folder: Path) -> tuple[Path, ...]:
    """Write the report in these forms, and for a single run its `report.json`; the files written, main ones first.

    Raises:
        Refusal: RCP1105: there is no such form; RCP0918: a link would lead out of the folder. Nothing is written then.
        OSError: the folder cannot be written.
    """
    files: dict[str, str] = {}
    for form in forms:
        files |= render(context, form)
    if len(context.sources) == 1:
        files["report.json"] = json.dumps(finite(context.sources[0].data), indent=1) + "\n"
    places = {below(folder, name): text for name, text in files.items()}
    for place, text in places.items():
        write_text(place, text)  # a reader sees the old report or the new one, never half of one
    return tuple(folder / name for name in sorted(files, key=lambda name: name.startswith("figures/")))


def finite(value: Any) -> Any:
    """A JSON value in which numbers that JSON cannot represent (a NaN loss) are null."""
    if isinstance(value, Mapping):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(paths.reports()),
        undefined=jinja2.StrictUndefined,
        # Given explicitly: Jinja's own choice only checks the last suffix, which is .j2.
        autoescape=lambda name: name is not None and name.endswith(".html.j2"),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "md": escape.markdown,
        "code": escape.code,
        "prose": escape.prose,
        "prose_html": escape.prose_html,
        "fence": escape.fence,
        "csv": escape.csv_line,
        "plain": words.plain,
        "number": words.number,
        "short": words.short,
        "signs": signs,
        "listed": listed,
        "counted": counted,
        "key": words.key,
        "inline": _inline,
    }
    environment.globals |= {
        "palette": palette,
        "style": style,
        "script": script,
        "policy": policy,
        "steps_anchor": steps_anchor,
    }
    return environment


def _inline(svg: str) -> Markup:
    """A chart: our own SVG, in which all text is escaped already."""
    return Markup(svg)
