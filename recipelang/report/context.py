"""From the record of a run, or of several, to the content of a report.

    report.json ──build──▶ ReportContext ──render──▶ Markdown · HTML · CSV
    run, run, … ──compare──▶ ReportContext

Everything that a form shows is decided here, so that all forms say the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from recipelang.errors import Refusal
from recipelang.report import links, parts, remarks, summary, words
from recipelang.report.agreement import agreements
from recipelang.report.best import best
from recipelang.report.content import MOST_ROWS, MOST_TOLD, ReportContext, most_of
from recipelang.report.decode import visible
from recipelang.report.domination import dominated
from recipelang.report.executing import execution
from recipelang.report.exhibits import exhibits
from recipelang.report.making import making
from recipelang.report.outcomes import outcomes
from recipelang.report.percentiles import percentiles
from recipelang.report.record import Metric, read
from recipelang.report.rows import Row, rows
from recipelang.report.runs import RecordedRun, environment, unlike
from recipelang.report.searches import searches
from recipelang.report.spreads import spreads
from recipelang.report.standing import lines
from recipelang.report.verdicts import shown_verdict
from recipelang.report.view import View, select
from recipelang.units import listed, show

LARGEST_FILE = 100_000_000  # bytes of a report.json: some thousands of networks with all their curves and rankings


def build(report: Mapping[str, Any], name: str = "", folder: Path | None = None) -> ReportContext:
    """The context of one run.

    Args:
        report: the content of `report.json`.
        name: the run's name beside others; default: its title.
        folder: where the run left its files, for what exports show; None if there are none.

    Raises:
        Refusal: RCP1101, RCP1102: the content is not such a record.
    """
    run = _recorded(report, name, folder)
    return _context((run,), run.report.title)


def _recorded(report: Mapping[str, Any], name: str, folder: Path | None) -> RecordedRun:
    record = read(report)
    return RecordedRun(visible(name) or record.title, record, report, folder)


def load(path: Path) -> ReportContext:
    """The context of a run from its folder, or from its `report.json`.

    Raises:
        Refusal: as of `recorded`.
    """
    run = recorded(path)
    return _context((run,), run.report.title)


def recorded(path: Path) -> RecordedRun:
    """A run from its folder, or from its `report.json`.

    Raises:
        Refusal: RCP1103: there is no record; RCP1101, RCP1102: it is not one; RCP1106: it is too large.
    """
    file = path / "report.json" if path.is_dir() else path
    try:
        data = json.loads(_text(file))
    except OSError as error:
        raise Refusal(
            "RCP1103",
            f"there is no report to read at `{file}`: {error.strerror or error}",
            "name the folder of a finished run, as printed by `recipe run`",
        ) from error
    except (ValueError, RecursionError) as error:
        raise Refusal(
            "RCP1101", f"`{file}` is not JSON: {error}", "run the recipe again; finished steps come from the store"
        ) from error
    return _recorded(data, file.resolve().parent.name, file.parent)


def _text(file: Path) -> str:
    """The text of a regular file of bounded size: a pipe or a device might never end.

    Raises:
        OSError: it cannot be read, or is not a regular file.
        Refusal: RCP1106: it is too large.
    """
    if file.exists() and not file.is_file():
        raise OSError("it is not a regular file")
    size = file.stat().st_size
    if size > LARGEST_FILE:
        raise Refusal(
            "RCP1106",
            f"`{file}` has {show(size, 'B')}, and reports of more than {show(LARGEST_FILE, 'B')} are not read",
            "split the sweep into several recipes, and compare their runs with `recipe compare`",
        )
    return file.read_text("utf-8")


def compare(contexts: Sequence[ReportContext]) -> ReportContext:
    """The runs of several contexts side by side; see `side_by_side`."""
    return side_by_side([source for context in contexts for source in context.sources])


def side_by_side(sources: Sequence[RecordedRun]) -> ReportContext:
    """Several runs side by side, each against its own healthy; equal run names are numbered.

    Raises:
        Refusal: RCP1104: there is nothing to compare.
    """
    if not sources:
        raise Refusal(
            "RCP1104", "there is no run to compare", "name one or more run folders: `recipe compare runs/a runs/b`"
        )
    taken: dict[str, int] = {}
    named = []
    for source in sources:
        taken[source.name] = taken.get(source.name, 0) + 1
        name = source.name if taken[source.name] == 1 else f"{source.name} ({taken[source.name]})"
        named.append(replace(source, name=name))
    title = named[0].report.title if len(named) == 1 else listed([source.name for source in named])
    return _context(tuple(named), title)


def table(context: ReportContext) -> tuple[tuple[str, ...], ...]:
    """The comparison as text, header first: name, then value and change against healthy of every metric."""
    header = ("", *(metric.name for metric in context.metrics))
    body = []
    for row in context.rows:
        cells = (f"{cell.value}  {cell.change}" if cell.change else cell.value for cell in row.cells)
        body.append((summary.signs(row) + row.name, *cells))
    return (header, *body)


def viewed(context: ReportContext, view: View) -> ReportContext:
    """The context with the networks that a view shows, in its order.

    Raises:
        Refusal: RCP1131: it names a network or a column that is not there.
    """
    return context if view == View() else _context(context.sources, context.title, view)


def _context(sources: tuple[RecordedRun, ...], title: str, view: View = View()) -> ReportContext:  # noqa: B008 (frozen)
    columns: dict[str, Metric] = {}
    for source in sources:
        for metric in source.report.metrics:
            columns.setdefault(metric.name, metric)
    metrics = tuple(columns.values())
    found = dominated(rows([(source.name, source.report) for source in sources], metrics), metrics)
    data = [words.plain(source.report.environment.get("data")) for source in sources]
    found = best(select(found, metrics, view), metrics, data)
    shown = most_of(found, MOST_TOLD)
    several, ranked = len(sources) > 1, parts.rankings(shown)
    shown_by_exports = exhibits(most_of(found, MOST_ROWS), sources)
    journeys = parts.journeys(shown, [source.name for source in sources])
    verdicts = tuple(shown_verdict(e, s.name if several else "") for s in sources for e in s.report.expectations)
    return ReportContext(
        title=title,
        sources=sources,
        metrics=metrics,
        rows=found,
        headline=summary.headline(found),
        sentences=summary.sentences(found),
        lines=lines(most_of(found, MOST_ROWS), [source.report for source in sources]),
        leading=None if several else summary.leading(found),
        verdicts=verdicts,
        journeys=journeys,
        outcomes=outcomes(journeys),
        making=making(shown),
        layers=tuple(
            (row.name, execution(row.variant)) for row in shown if row.kind == "variant" and row.variant.layers
        ),
        spreads=spreads(shown, metrics),
        rankings=ranked,
        agreements=agreements(ranked),
        trainings=parts.trainings(shown),
        environment=environment(sources),
        warnings=(*remarks.warnings(sources), *unlike(sources), *shown_by_exports.unread),
        legend=summary.legend(found),
        notes=summary.notes(found),
        arrivals=remarks.arrivals(shown, sources),
        percentiles=percentiles(most_of(found, MOST_ROWS), metrics),
        searches=searches(shown),
        recipes=links.recipes(sources, shown, journeys, verdicts),
        parameters=_parameters(found),
        exhibits=shown_by_exports,
    )


def _parameters(found: Sequence[Row]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The parameters of sweeps that have several values, with these."""
    values: dict[str, dict[str, None]] = {}
    for row in found:
        for name, value in row.variant.parameters.items():
            values.setdefault(name, {})[words.plain(value)] = None
    return tuple((name, tuple(of)) for name, of in values.items() if len(of) > 1)
