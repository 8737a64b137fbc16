"""`--fail-if 'top1 drop > 1%'`: conditions of the language, judged on finished runs."""

from __future__ import annotations

import dataclasses
import math
from collections import ChainMap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from recipelang import catalogue
from recipelang.errors import Diagnostic, RecipeError, Span, nearest
from recipelang.kinds import figure
from recipelang.meaning import conditions, places, typed
from recipelang.meaning.diagnostics import Notes
from recipelang.meaning.flow import Flow
from recipelang.plan import Condition, Reading, Samples, tests_of
from recipelang.report.context import ReportContext
from recipelang.report.measured import Measured
from recipelang.report.record import Expectation
from recipelang.report.rows import Row
from recipelang.report.verdicts import ShownVerdict
from recipelang.syntax import nodes
from recipelang.units import listed

if TYPE_CHECKING:
    from recipelang.budgets.conditions import Value

OPTION, VERB = "--fail-if ", "expect"
HELP = "write `--fail-if 'top1 drop > 1%'`; for several conditions, join them by `and` or `or`, or repeat the option"


class _Undecided(Exception):
    """A reading that the record does not have; says why."""


def limited(context: ReportContext, texts: Sequence[str], *, every: bool = False) -> ReportContext:
    """The context with a verdict for each condition and network: `not (top1 drop > 1%)`.

    A network fails where the whole interval of what was measured meets the condition, so that noise alone fails
    nothing: the same as an `expect` of the opposite. It is undecided where its number is missing.

    Args:
        context: of one run or several.
        texts: conditions as a recipe spells them.
        every: judge every variant that is shown; default the networks that the recipes end with.

    Raises:
        RecipeError: a condition is wrong, at its place in the option; RCP1130: it reads what was not measured.
    """
    found: list[ShownVerdict] = []
    for text in texts:
        condition = _read(text, context)
        found += [_verdict(text, condition, context, row) for row in _judged(condition, context, every)]
    return dataclasses.replace(context, verdicts=(*context.verdicts, *found), limits=tuple(found))


def _judged(condition: Condition, context: ReportContext, every: bool) -> list[Row | None]:
    """The networks that a condition is about; None for one that reads named networks alone."""
    variants = [row for row in context.rows if row.kind == "variant"]
    last = [row for row in variants if row.goes_on]
    found: list[Row | None] = list(variants if every or not last else last)
    if all(reading.subject.kind != "current" for reading in _readings(condition)):
        first = {row.origin: row for row in reversed(context.rows)}  # a row of each run, to find the others by
        return [first[origin] for origin in sorted(first)]
    return found or [None]


def _readings(condition: Condition) -> list[Reading]:
    tests = list(tests_of(condition))
    return [*(test.reading for test in tests), *(t.bound for t in tests if isinstance(t.bound, Reading))]


# -- what the option says ----------------------------------------------------------------------------


def _read(text: str, context: ReportContext) -> Condition:
    """The condition of one option.

    Raises:
        RecipeError: it is not one, or reads what was not measured.
    """
    statement = typed.statement(VERB, text, OPTION, HELP)
    if len(statement.operands) != 1 or [clause.word.text for clause in statement.clauses] not in ([], ["on"]):
        raise RecipeError([typed.not_one(text, OPTION, HELP)])
    tried = [_tried(statement, context, task) for task in ("", *catalogue.names("task"))]
    condition, notes = next((found for found in tried if found[0] is not None), tried[0])
    if condition is None:
        raise RecipeError([typed.moved(_ours(diagnostic), VERB, text, OPTION) for diagnostic in notes.errors])
    for reading in _readings(condition):
        _require(reading, context, text)
    return condition


def _ours(found: Diagnostic) -> Diagnostic:
    """A mistake whose help is about recipes, told for reports."""
    if found.code != "RCP0501":
        return found
    message, help = "a report does not hold the network `recovered`", "name `healthy` or a variant"
    return dataclasses.replace(found, code="RCP1130", message=message, help=help)


def _tried(statement: nodes.Statement, context: ReportContext, task: str) -> tuple[Condition | None, Notes]:
    """The condition as a recipe of this task would read it; default the task of recipes that name none."""
    flow = _flow(context)
    if task:
        flow.task = catalogue.find("task", task)
    reader = typed.reader(statement, flow)
    node = reader.argument("on")
    place = Samples("test") if node is None else places.place(reader, node, "test")
    if place is None:
        return None, reader.notes
    condition = conditions.read(reader, statement.operands[0], place.split, place.data)
    return (None if reader.notes.errors else condition), reader.notes


def _flow(context: ReportContext) -> Flow:
    """What a condition may name: healthy, the variants of the runs, and the data sets of their columns."""
    nowhere = Span(0, 0, 1, 1, 1, 1)
    variants = {row.variant.name: row.variant.name for row in context.rows if row.kind == "variant"}
    places_ = (metric.name.rpartition(" on ")[2].split() for metric in context.metrics if " on " in metric.name)
    data = {word: ("data", nowhere) for words in places_ for word in words if word not in places.SPLITS}
    return Flow(variants=ChainMap(variants), names=ChainMap(data), healthy=True)


def _require(reading: Reading, context: ReportContext, text: str) -> None:
    """Refuse a metric that none of the runs measured.

    Raises:
        RecipeError: RCP1130.
    """
    column, known = _column(reading), [metric.name for metric in context.metrics]
    if column in known:
        return
    base = column.partition("(")[0].split()[0]
    alike = next((name for name in known if name.partition("(")[0].split()[0] == base), None) or nearest(column, known)
    guess = f"did you mean `{alike}`? " if alike else ""
    measured = f"measured: {listed([f'`{name}`' for name in known])}" if known else "no metric was measured"
    message = f"`{column}` was not measured in {'this run' if len(context.sources) == 1 else 'these runs'}"
    wrong = Diagnostic("RCP1130", message, reading.span, f"{guess}{measured}")
    raise RecipeError([typed.moved(wrong, VERB, text, OPTION)])


# -- what was measured -------------------------------------------------------------------------------


def _verdict(text: str, condition: Condition, context: ReportContext, row: Row | None) -> ShownVerdict:
    """Whether a network fails; None is no network at all."""
    from recipelang.budgets.conditions import judge

    about = row is not None and any(reading.subject.kind == "current" for reading in _readings(condition))
    run = context.sources[row.origin].name if row and not about and len(context.sources) > 1 else ""
    of = row.name if row and about else run
    expectation = Expectation(f"not ({text.strip()})", variant=of)
    if row is None:
        return ShownVerdict(expectation, "", "?", "undecided", "there is no network to judge", "")
    try:
        surely = judge(condition, lambda reading: _value(reading, context, row), "surely")
        likely = judge(condition, lambda reading: _value(reading, context, row), "likely")
    except _Undecided as why:
        return ShownVerdict(expectation, of, "?", "undecided", str(why), "")
    holds = not surely.holds
    expectation = dataclasses.replace(expectation, holds=holds, figures=surely.figures, margin=surely.marginal)
    note = "within the noise: the interval is on both sides of the bound" if likely.holds and holds else ""
    mark, verdict = ("✓", "met") if holds else ("✗", "not met")
    return ShownVerdict(expectation, of, mark, verdict, figure.words(surely.figures), note)


def _value(reading: Reading, context: ReportContext, row: Row) -> Value:
    """What a record has for a reading.

    Raises:
        _Undecided: nothing.
    """
    subject = _subject(reading, context, row)
    column = _column(reading)
    measured = subject.variant.metrics.get(column)
    if subject.variant.error is not None:
        raise _Undecided(f"{subject.name} failed: {subject.variant.error.message}")
    if measured is None or measured.value is None:
        raise _Undecided(f"{column} of {subject.name} was not measured")
    if reading.form == "value":
        return _ends(measured.value, measured.low, measured.high)
    if reading.form == "ratio":
        return _ratio(measured, column, subject)
    difference = _difference(measured, reading, context, subject)
    if reading.form == "rise":
        return difference
    return _ends(-difference.value, -difference.high, -difference.low)


def _subject(reading: Reading, context: ReportContext, row: Row) -> Row:
    """The network that a reading is about: this one, or one of the same run."""
    if reading.subject.kind == "current":
        return row
    for other in context.rows:
        if other.origin == row.origin and other.variant.name == reading.subject.name:
            return other
    raise _Undecided(f"`{reading.subject.name}` is not among the networks")


def _ratio(measured: Measured, column: str, subject: Row) -> Value:
    if measured.ratio is not None:
        return _ends(measured.ratio, measured.ratio_low, measured.ratio_high)
    if not measured.healthy or measured.value is None:
        raise _Undecided(f"{column} of {subject.name} has no ratio to healthy")
    return _ends(measured.value / measured.healthy, None, None)


def _difference(measured: Measured, reading: Reading, context: ReportContext, subject: Row) -> Value:
    """How much larger it is than the same of healthy or of the control.

    Raises:
        _Undecided: there is nothing to compare with.
    """
    beside = measured if reading.against == "healthy" else measured.control
    if beside is not None and beside.difference is not None:
        return _ends(beside.difference, beside.difference_low, beside.difference_high)
    wanted = subject.control if reading.against == "control" else "healthy"
    other = next(
        (row for row in context.rows if row.origin == subject.origin and wanted in (row.name, row.variant.name)), None
    )
    theirs = other.variant.metrics.get(_column(reading)) if other else None
    if theirs is None or theirs.value is None or measured.value is None:
        raise _Undecided(f"{_column(reading)} of {subject.name} has nothing to compare with: no {reading.against}")
    change = measured.value - theirs.value  # without a paired comparison, as if the two were independent
    half = math.hypot(_half(measured), _half(theirs))
    return _ends(change, change - half, change + half)


def _column(reading: Reading) -> str:
    """The name of a reading's column in a record."""
    from recipelang.budgets.conditions import column_of

    return column_of(reading)


def _half(measured: Measured) -> float:
    return 0.0 if measured.low is None or measured.high is None else (measured.high - measured.low) / 2


def _ends(value: float, low: float | None, high: float | None) -> Value:
    from recipelang.budgets.conditions import Value

    return Value(value, value if low is None else low, value if high is None else high)
