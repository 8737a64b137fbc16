"""The content of a report, independent of its form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from recipelang.report import links, parts, summary
from recipelang.report.agreement import Agreement
from recipelang.report.executing import Layers
from recipelang.report.exhibits import Exhibits
from recipelang.report.making import Making
from recipelang.report.outcomes import Outcome
from recipelang.report.percentiles import PercentileTable
from recipelang.report.record import Metric
from recipelang.report.rows import Cell, Row
from recipelang.report.runs import RecordedRun
from recipelang.report.searches import Search
from recipelang.report.spreads import Spread
from recipelang.report.standing import Line
from recipelang.report.verdicts import ShownVerdict, told_verdicts

MOST_ROWS = 300  # of a table for reading; the CSV has all
MOST_LISTED = 5000  # of a table that can be sorted and filtered
MOST_TOLD = 100  # networks whose steps, layers, rankings and trainings are told
FRONT_FIRST = 100  # with more networks, a page opens with those that nothing dominates


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
        lines: a line for every variant, with what speaks for it.
        leading: the row that the report presents first; None if there is no single one.
        verdicts: of every `expect`, and of every `--fail-if` of the command line.
        limits: those of them that are of `--fail-if`.
        journeys: the steps.
        layers: (row name, how its layers execute).
        percentiles: of clocks.
        spreads: numbers of networks with many seeds.
        rankings, searches, trainings: what the charts show.
        agreements: rankings of the same units side by side.
        exhibits: what exports left for readers.
        environment: (name, one text per source).
        warnings: what needs attention.
        legend: (sign, meaning) of the signs that the comparison uses.
        notes: (metric, what its numbers include or leave out).
        outcomes: what every statement was asked for and reached, network by network.
        making: what the networks cost to make.
        arrivals: what was found, replaced or removed when networks were loaded.
        recipes: their texts, with links to the steps.
        parameters: (name, values) of sweeps, by which rows differ.
    """

    title: str
    sources: tuple[RecordedRun, ...]
    metrics: tuple[Metric, ...]
    rows: tuple[Row, ...]
    headline: tuple[tuple[str, str], ...]
    sentences: tuple[tuple[str, str], ...]
    lines: tuple[Line, ...]
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
    exhibits: Exhibits = Exhibits()
    limits: tuple[ShownVerdict, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    making: Making = Making()
    recipes: tuple[links.ShownRecipe, ...] = ()
    parameters: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a reader should know before the numbers: how networks were loaded, and what needs attention."""
        return self.arrivals + self.warnings

    @cached_property
    def shown(self) -> tuple[Row, ...]:
        """The rows that a page has room for: the leading ones, and the first of the others; in order."""
        return most_of(self.rows, MOST_ROWS)

    @property
    def more(self) -> int:
        """How many rows are not shown."""
        return len(self.rows) - len(self.shown)

    @cached_property
    def listed(self) -> tuple[Row, ...]:
        """The rows of a table that can be sorted and filtered."""
        return most_of(self.rows, MOST_LISTED)

    @cached_property
    def told(self) -> frozenset[str]:
        """The anchors of the rows whose steps are told."""
        return frozenset(row.anchor for row in most_of(self.rows, MOST_TOLD))

    @cached_property
    def front(self) -> tuple[Row, ...]:
        """The variants that reached their end and that no other network dominates."""
        return tuple(row for row in self.rows if row.kind == "variant" and not row.failed and not row.dominated)

    @property
    def unlisted(self) -> int:
        """How many rows such a table has no room for."""
        return max(0, len(self.rows) - MOST_LISTED)

    @property
    def folded(self) -> bool:
        """Whether a page opens with the front and folds the other networks."""
        return len(self.rows) > FRONT_FIRST

    @property
    def overview(self) -> str:
        """One sentence on all variants; "" if there is only one."""
        variants = sum(row.kind == "variant" for row in self.rows)
        return "" if variants == 1 and self.leading else summary.overview(self.rows)

    @cached_property
    def told_verdicts(self) -> tuple[tuple[int, ShownVerdict], ...]:
        """(number from 1, verdict) of those that a page has room for."""
        return told_verdicts(self.verdicts)

    @cached_property
    def champions(self) -> tuple[tuple[Metric, str, tuple[Row, ...]], ...]:
        """(metric, its best value, the variants that have it or are as good) of every column that has a best."""
        found = []
        for place, metric in enumerate(self.metrics):
            best = [row for row in self.rows if row.cells[place].best]
            if best:
                best.sort(key=lambda row: _rank(row.cells[place], metric))
                found.append((metric, best[0].cells[place].value, tuple(best)))
        return tuple(found)

    @cached_property
    def seeds(self) -> int:
        """How many seeds every network has; 0 if they differ."""
        counts = {row.seeds for row in self.rows if not row.failed}
        return counts.pop() if len(counts) == 1 else 0

    @property
    def ends(self) -> frozenset[str]:
        """The names of the variants that the recipes end with; none where that distinguishes none of several."""
        variants = [row for row in self.rows if row.kind == "variant"]
        found = frozenset(row.name for row in variants if row.goes_on)
        return found if len(found) < len(variants) or len(variants) == 1 else frozenset()

    @property
    def marked(self) -> bool:
        """Whether any number is the best of its column."""
        return any(cell.best for row in self.rows for cell in row.cells)

    def line_anchor(self, origin: int, line: int) -> str:
        """The id of a line of the recipe of a run; "" if the page does not show it."""
        anchors = self._line_anchors[origin]
        return anchors[line - 1] if 0 < line <= len(anchors) else ""

    @cached_property
    def _line_anchors(self) -> tuple[tuple[str, ...], ...]:
        return links.line_anchors(self.recipes, self.sources)

    @property
    def controls(self) -> bool:
        """Whether any number is compared with a control."""
        return any(cell.control for row in self.rows for cell in row.cells)

    @property
    def unpaired(self) -> bool:
        """Whether numbers are compared with a control as if the two had been measured independently."""
        cells = [cell for row in self.rows for cell in row.cells if cell.control]
        return any(cell.measured is not None and cell.measured.control is None for cell in cells)


def _rank(cell: Cell, metric: Metric) -> float:
    value = cell.measured.value if cell.measured else None
    return 0.0 if value is None else value if metric.better == "lower" else -value


def most_of(found: Sequence[Row], most: int) -> tuple[Row, ...]:
    """At most `most` rows, in order: first the leading ones, healthy and controls, then the front, then the others."""
    if len(found) <= most:
        return tuple(found)

    def later(row: Row) -> tuple[bool, ...]:
        return not row.goes_on, row.kind == "variant", row.failed or bool(row.dominated)

    ranked = sorted(range(len(found)), key=lambda i: (*later(found[i]), i))
    return tuple(found[i] for i in sorted(ranked[:most]))
