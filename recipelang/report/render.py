"""From context to files: each form is a card in the catalogue and a template in `reports/`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from recipelang.errors import Refusal
from recipelang.files import below, write_text
from recipelang.report.chart import Charts
from recipelang.report.context import ReportContext
from recipelang.report.decode import finite
from recipelang.report.drawn import drawn
from recipelang.report.forms import made
from recipelang.report.svg import standalone
from recipelang.report.templates import filled


def render(context: ReportContext, form: Any) -> dict[str, str]:
    """The files of a report in one form: path under the report's folder → text.

    The same context gives the same bytes.

    Args:
        context: the content.
        form: its name, or the form with its settings.

    Raises:
        Refusal: RCP1105: there is no such form; RCP1132: its template has an error.
    """
    card = made(form)
    shown = drawn(context) if card.charts else Charts()
    templates = {card.file: card.template, **getattr(card, "beside", {})}
    files = {name: filled(card, template, context, shown) for name, template in templates.items()}
    if card.charts == "files":
        files |= {f"figures/{chart.name}.svg": standalone(chart.svg) for chart in shown.all}
    return files


def alone(context: ReportContext, form: Any) -> str:
    """A form as one text, to be pasted or piped: without the files beside it, and so without images that are files.

    Raises:
        Refusal: RCP1105: there is no such form; RCP1132: its template has an error.
    """
    card = made(form)
    return filled(card, card.template, context, drawn(context) if card.charts == "inline" else Charts())


def write(context: ReportContext, forms: Iterable[Any], folder: Path) -> tuple[Path, ...]:
    """Write the report in these forms, and for a single run its `report.json`; the files written, main ones first.

    Args:
        context: the content.
        forms: their names, or forms with their settings.
        folder: where to write.

    Raises:
        Refusal: RCP1105: there is no such form; RCP1132: its template has an error; RCP1133: a file there is somebody
            else's; RCP0918: a link would lead out of the folder. Nothing is written then.
        OSError: the folder cannot be written.
    """
    files: dict[str, str] = {}
    for form in map(made, forms):
        files |= render(context, form)
        _spare(folder / form.file, getattr(form, "ours", ""))
    if len(context.sources) == 1:
        files["report.json"] = json.dumps(finite(context.sources[0].data), indent=1) + "\n"
    places = {below(folder, name): text for name, text in files.items()}
    for place, text in places.items():
        write_text(place, text)  # a reader sees the old report or the new one, never half of one
    return tuple(folder / name for name in sorted(files, key=lambda name: name.startswith("figures/")))


def _spare(file: Path, ours: str) -> None:
    """Refuse to overwrite a file that a form did not write, such as the README of a project.

    Args:
        file: to be written.
        ours: a text that every file of this form holds; "" if its name is taken by nothing else.

    Raises:
        Refusal: RCP1133.
    """
    if ours and file.is_file() and ours not in file.read_text("utf-8", errors="replace"):
        message = f"`{file}` is not a model card of recipelang, and is not overwritten"
        raise Refusal("RCP1133", message, "name another folder, or remove the file")
