"""The templates of reports: how they are found, what they can call, and what an error in one says."""

from __future__ import annotations

import inspect
import json
import traceback
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from recipelang import paths
from recipelang.errors import Refusal
from recipelang.report import escape, flat, words
from recipelang.report.card import front_matter, subjects
from recipelang.report.chart import Charts
from recipelang.report.context import ReportContext, table
from recipelang.report.machine import comparison_json
from recipelang.report.page import policy, script, style
from recipelang.report.parts import steps_anchor
from recipelang.report.sheets import sheets
from recipelang.report.summary import signs
from recipelang.report.svg import palette
from recipelang.units import counted, listed


def filled(form: Any, name: str, context: ReportContext, charts: Charts) -> str:
    """What a template makes of the context.

    Args:
        form: the form with its settings.
        name: of the template: of recipelang's, or of a file beside the class of a plug-in's form.
        context, charts: the content.

    Raises:
        Refusal: RCP1132: there is no such template, or it has an error.
    """
    folder, environment = paths.reports(), _environment()
    if not type(form).__module__.startswith("recipelang."):
        folder = Path(inspect.getfile(type(form))).parent
        environment = environment.overlay(loader=jinja2.FileSystemLoader([folder, paths.reports()]))
    try:
        template = environment.get_template(name)
        return template.render(form=form, context=context, charts=charts, table=table(context))
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        if not isinstance(error, jinja2.TemplateError | UnicodeDecodeError) and not frames[-1].filename.endswith(".j2"):
            raise  # an error of ours
        raise _broken(folder / name, error, frames) from error


def _broken(file: Path, error: Exception, frames: Sequence[traceback.FrameSummary]) -> Refusal:
    """A template that cannot be read or filled in, and the line of it."""
    inside = [frame.lineno for frame in frames if frame.filename.endswith(".j2")]
    line = error.lineno if isinstance(error, jinja2.TemplateSyntaxError) else inside[-1] if inside else None
    why = f"there is no `{error}`" if isinstance(error, jinja2.TemplateNotFound) else str(error)
    message = f"the template `{file.name}` cannot be used: {f'line {line}: ' if line else ''}{why}"
    return Refusal("RCP1132", message, f"correct `{file}`; a template of recipelang is restored by installing it again")


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
        "quoted": _quoted,
        "comment": _comment,
    }
    environment.globals |= {
        "palette": palette,
        "style": style,
        "script": script,
        "policy": policy,
        "steps_anchor": steps_anchor,
        "sheets": sheets,
        "comparison": comparison_json,
        "flat": flat,
        "front_matter": front_matter,
        "subjects": subjects,
    }
    return environment


def _quoted(text: str) -> str:
    """A text as Python writes it, in double quotes."""
    return json.dumps(text, ensure_ascii=False)


def _comment(text: str) -> str:
    """A text as the end of a line of Python."""
    return " ".join(text.split())


def _inline(svg: str) -> Markup:
    """A chart: our own SVG, in which all text is escaped already."""
    return Markup(svg)
