"""From the record of a run, or of several, to the content of a report.

    report.json ──build──▶ ReportContext ──render──▶ Markdown · HTML · CSV
    run, run, … ──compare──▶ ReportContext

Everything that a form shows is decided here, so that all forms say the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recipelang.errors import Refusal
from recipelang.report import parts, summary
from recipelang.report.agreement import Agreement, agreements
from recipelang.report.best import best
from recipelang.report.decode import visible
from recipelang.report.domination import dominated
from recipelang.report.executing import Layers, execution
from recipelang.report.making import Making, making
from recipelang.report.outcomes import Outcome, outcomes
from recipelang.report.percentiles import PercentileTable, percentiles
from recipelang.report.record import Metric, Trouble, read
from recipelang.report.rows import Row, rows
from recipelang.report.runs import RecordedRun, environment, unlike
from recipelang.report.searches import Search, searches
from recipelang.report.spreads import Spread, spreads
from recipelang.report.verdicts import ShownVerdict, shown_verdict
from recipelang.report.view import View, select
from recipelang.units import listed, show

LARGEST_FILE = 100_000_000  # bytes of a report.json: some thousands of networks with all their curves and rankings
MOST_ROWS = 300  # of a table for reading; the CSV has all


@dataclass(frozen=True)
class ReportContext:
    """The content of a report, independent of its form.

    Attributes:
        title: of the report.
        sources: the runs, one unless several are compared.
        metrics: the columns.
        rows: the comparison; healthy first.
        headline: (name, what was achieved) of the networks that the recipes end with.
        sentences: the summary: the headline, then what was achieved by others.
        leading: the row that the report presents first; None if there is no single one.
        verdicts: of every `expect`, and of every `--fail-if` of the command line.
        limits: those of them that are of `--fail-if`.
        journeys: the steps.
        layers: (row name, how its layers execute).
        percentiles: of clocks.
        spreads: numbers of networks with many seeds.
        rankings, searches, trainings: what the charts show.
        agreements: rankings of the same units side by side.
        environment: (name, one text per source).
        warnings: what needs attention.
        legend: (sign, meaning) of the signs that the comparison uses.
        notes: (metric, what its numbers include or leave out).
        outcomes: what every statement was asked for and reached, network by network.
        making: what the networks cost to make.
        arrivals: what was found, replaced or removed when networks were loaded.
    """

    title: str
    sources: tuple[RecordedRun, ...]
    metrics: tuple[Metric, ...]
    rows: tuple[Row, ...]
    headline: tuple[tuple[str, str], ...]
    sentences: tuple[tuple[str, str], ...]
    leading: Row | None
    verdicts: tuple[ShownVerdict, ...]
    journeys: tuple[parts.Journey, ...]
    layers: tuple[tuple[str, tuple[Layers, ...]], ...]
    spreads: tuple[Spread, ...]
    rankings: tuple[parts.Ranking, ...]
    agreements: tuple[Agreement, ...]
    trainings: tuple[parts.Training, ...]
    environment: tuple[tuple[str, tuple[str, ...]], ...]
    warnings: tuple[str, ...]
    legend: tuple[tuple[str, str], ...]
    notes: tuple[tuple[str, str], ...] = ()
    arrivals: tuple[str, ...] = ()
    percentiles: tuple[PercentileTable, ...] = ()
    searches: tuple[Search, ...] = ()
    limits: tuple[ShownVerdict, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    making: Making = Making()

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a reader should know before the numbers: how networks were loaded, and what needs attention."""
        return self.arrivals + self.warnings

    @property
    def shown(self) -> tuple[Row, ...]:
        """The rows that a page has room for: the leading ones, and the first of the others; in order."""
        return most_of(self.rows, MOST_ROWS)

    @property
    def more(self) -> int:
        """How many rows are not shown."""
        return len(self.rows) - len(self.shown)

    @property
    def controls(self) -> bool:
        """Whether any number is compared with a control."""
        return any(cell.control for row in self.rows for cell in row.cells)

    @property
    def unpaired(self) -> bool:
        """Whether numbers are compared with a control as if the two had been measured independently."""
        cells = [cell for row in self.rows for cell in row.cells if cell.control]
        return any(cell.measured is not None and cell.measured.control is None for cell in cells)


def most_of(found: Sequence[Row], most: int) -> tuple[Row, ...]:
    """At most `most` rows, in order: first the leading ones, healthy and controls, then the others."""
    if len(found) <= most:
        return tuple(found)
    ranked = sorted(range(len(found)), key=lambda i: (not found[i].goes_on, found[i].kind == "variant", i))
    return tuple(found[i] for i in sorted(ranked[:most]))


def build(report: Mapping[str, Any], name: str = "") -> ReportContext:
    """The context of one run.

    Args:
        report: the content of `report.json`.
        name: the run's name beside others; default: its title.

    Raises:
        Refusal: RCP1101, RCP1102: the content is not such a record.
    """
    record = read(report)
    return _context((RecordedRun(visible(name) or record.title, record, report),), record.title)


def load(path: Path) -> ReportContext:
    """The context of a run from its folder, or from its `report.json`.

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
    return build(data, name=file.resolve().parent.name)


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
    """Several runs side by side, each against its own healthy; equal run names are numbered.

    Raises:
        Refusal: RCP1104: there is nothing to compare.
    """
    sources = [source for context in contexts for source in context.sources]
    if not sources:
        raise Refusal(
            "RCP1104", "there is no run to compare", "name one or more run folders: `recipe compare runs/a runs/b`"
        )
    taken: dict[str, int] = {}
    named = []
    for source in sources:
        taken[source.name] = taken.get(source.name, 0) + 1
        name = source.name if taken[source.name] == 1 else f"{source.name} ({taken[source.name]})"
        named.append(RecordedRun(name, source.report, source.data))
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
    found = best(select(found, metrics, view), metrics)
    shown = most_of(found, MOST_ROWS)
    several, ranked = len(sources) > 1, parts.rankings(shown)
    journeys = parts.journeys(shown, [source.name for source in sources])
    said = [_warning(w, s.name if several else "") for s in sources for w in s.report.warnings]
    return ReportContext(
        title=title,
        sources=sources,
        metrics=metrics,
        rows=found,
        headline=summary.headline(found),
        sentences=summary.sentences(found),
        leading=None if several else summary.leading(found),
        verdicts=tuple(shown_verdict(e, s.name if several else "") for s in sources for e in s.report.expectations),
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
        warnings=(*said, *unlike(sources)),
        legend=summary.legend(found),
        notes=summary.notes(found),
        arrivals=_arrivals(shown, sources),
        percentiles=percentiles(shown, metrics),
        searches=searches(shown),
    )


def _arrivals(found: Sequence[Row], sources: Sequence[RecordedRun]) -> tuple[str, ...]:
    """The notes of the steps that loaded networks, each once."""
    told: dict[str, None] = {}
    for row in found:
        run = f"{sources[row.origin].name}: " if len(sources) > 1 else ""
        for step in (step for run_ in row.variant.runs for step in run_.steps):
            if step.verb == "model" and step.note:
                told[f"{run}`{step.text}`: {step.note}"] = None
    return tuple(told)


def _warning(warning: str | Trouble, run: str) -> str:
    prefix = f"{run}: " if run else ""
    if isinstance(warning, str):
        return prefix + warning
    place = f"line {warning.line}: " if warning.line else ""
    code = f" ({warning.code})" if warning.code else ""
    return f"{prefix}{place}{warning.message}{code}" + (f". {warning.help}" if warning.help else "")
