"""What `run --json` and `compare --json` print, and the form `json`; `report --json` prints the record itself.

`reports/run.schema.json` and `reports/compare.schema.json` are made from these classes, and a test compares them.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from recipelang.kinds import figure as figures
from recipelang.report.context import ReportContext
from recipelang.report.costs import Cost
from recipelang.report.decode import finite, schema
from recipelang.report.layered import LayerPair, Profile
from recipelang.report.making import cost_of
from recipelang.report.measured import Measured, Metric
from recipelang.report.record import Execution, Report, Scalar, Step, Trouble, Variant
from recipelang.report.rows import Row, seed_values


@dataclass(frozen=True)
class Asked:
    """One statement as it was carried out.

    Attributes:
        text: the statement in canonical form.
        line: of the recipe; null if the language added it.
        asked, reached: in words.
        note: a remark of the step.
        seconds: how long it took when it was done, under this seed; null where it is not known.
    """

    text: str
    line: int | None
    asked: str
    reached: str
    note: str
    seconds: float | None


@dataclass(frozen=True)
class Network:
    """One network of a comparison.

    Attributes:
        run: the name of its run.
        name: within the run.
        kind: `healthy`, a `variant`, or a `control`.
        goes_on: whether the recipe ends with it.
        chosen: whether `choose` picked it.
        origin: the variant that `choose` picked and from which it was made; "" if there is none.
        parameters: of a sweep point.
        seeds: how many.
        dominated_by: networks that are at least as good in everything and clearly better in something.
        error: why it failed; null if it did not.
        metrics: by the name of the column.
        per_seed: the values under each seed, by the name of the column; empty with one seed.
        best_in: the columns in which no variant is better.
        control: the network that it is compared with beside healthy, within the run; "" if there is none.
        steps: what each was asked for and reached, in words, in order; under the first seed where seeds differ.
        layers: how each executes.
        forms: width, zeros and bits of each beside healthy's. profiles: what each takes of a call.
        cost: what it took to make it; null where it is not known.
    """

    run: str
    name: str
    kind: Literal["healthy", "variant", "control"]
    goes_on: bool
    chosen: bool
    origin: str
    parameters: Mapping[str, Scalar]
    seeds: int
    dominated_by: tuple[str, ...]
    error: Trouble | None
    metrics: Mapping[str, Measured]
    per_seed: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    best_in: tuple[str, ...] = ()
    control: str = ""
    steps: tuple[Asked, ...] = ()
    layers: tuple[Execution, ...] = ()
    forms: tuple[LayerPair, ...] = ()
    profiles: tuple[Profile, ...] = ()
    cost: Cost | None = None


@dataclass(frozen=True)
class Expected:
    """One `expect` of a comparison.

    Attributes:
        of: the run and the variant that it is about.
        text: the condition as written.
        holds: null if it could not be decided.
        value: what was measured, in words.
    """

    of: str
    text: str
    holds: bool | None
    value: str


@dataclass(frozen=True)
class Comparison:
    """Several runs side by side.

    Attributes:
        format: names the version of this form.
        runs: their names.
        metrics: the columns, in order.
        networks: of all runs, healthy first within each.
        expectations: of all runs, and of `--fail-if`: what must not be.
        warnings: what makes them hard to compare, and the warnings of each.
        files: the files that were written.
    """

    format: Literal["recipelang.compare/1"]
    runs: tuple[str, ...]
    metrics: tuple[Metric, ...]
    networks: tuple[Network, ...]
    expectations: tuple[Expected, ...]
    warnings: tuple[str, ...]
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class Finished:
    """The result of a run.

    Attributes:
        format: names the version of this form.
        exit_code: 0 done, 3 a step failed, 4 an `expect` was not met.
        folder: the output folder.
        files: the reports.
        diagnostics: what went wrong.
        report: the record, the same as in `report.json`.
    """

    format: Literal["recipelang.run/1"]
    exit_code: int
    folder: str
    files: tuple[str, ...]
    diagnostics: tuple[Mapping[str, Any], ...]
    report: Report


def comparison_json(context: ReportContext, files: Iterable[Path] = ()) -> str:
    """A comparison as JSON: every network, also those that a page has no room for."""
    healthy = {row.origin: row.variant for row in context.rows if row.kind == "healthy"}
    networks = tuple(_network(context, row, healthy.get(row.origin)) for row in context.rows)
    found = Comparison(
        format="recipelang.compare/1",
        runs=tuple(source.name for source in context.sources),
        metrics=context.metrics,
        networks=networks,
        expectations=tuple(Expected(v.of, v.expectation.text, v.expectation.holds, v.value) for v in context.verdicts),
        warnings=context.warnings,
        files=tuple(map(str, files)),
    )
    return _text(asdict(found))


def _network(context: ReportContext, row: Row, healthy: Variant | None) -> Network:
    variant, run = row.variant, context.sources[row.origin].name
    values = {cell.metric.name: tuple(seed_values(variant.runs, cell.metric.name)) for cell in row.cells if cell.n > 1}
    return Network(
        run=run,
        name=variant.name,
        kind=variant.kind,
        goes_on=row.goes_on,
        chosen=variant.chosen,
        origin=variant.origin,
        parameters=variant.parameters,
        seeds=row.seeds,
        dominated_by=row.dominated,
        error=variant.error,
        metrics={name: _deviating(measured, values.get(name, ())) for name, measured in variant.metrics.items()},
        per_seed=values,
        best_in=tuple(cell.metric.name for cell in row.cells if cell.best),
        control=row.control.removeprefix(f"{run}: ") if len(context.sources) > 1 else row.control,
        steps=tuple(map(_step, variant.runs[0].steps)) if variant.runs else (),
        layers=variant.layers,
        forms=variant.forms,
        profiles=variant.profiles,
        cost=cost_of(variant, healthy),
    )


def _deviating(measured: Measured, values: Sequence[float]) -> Measured:
    """The number with its standard deviation over seeds, which older records do not state."""
    return replace(measured, std=statistics.stdev(values)) if measured.std is None and len(values) > 1 else measured


def _step(step: Step) -> Asked:
    line = None if step.implied else step.line
    asked, reached = figures.words(step.asked), figures.words(step.reached)
    return Asked(step.text, line, asked, reached, step.note or "", step.seconds)


def run_json(
    report: Mapping[str, Any], *, exit_code: int, folder: Path, files: Iterable[Path], diagnostics: Iterable[Any]
) -> str:
    """A finished run as JSON.

    Args:
        report: the record.
        exit_code: of the command.
        folder: the output folder.
        files: the reports that were written.
        diagnostics: what went wrong (`errors.Diagnostic`).
    """
    return _text(
        {
            "format": "recipelang.run/1",
            "exit_code": exit_code,
            "folder": str(folder),
            "files": list(map(str, files)),
            "diagnostics": [diagnostic.json() for diagnostic in diagnostics],
            "report": report,
        }
    )


def record_json(context: ReportContext) -> str:
    """The record of a single run as JSON."""
    return _text(context.sources[0].data)


def _text(value: Any) -> str:
    return json.dumps(finite(value), indent=2)


def schemas() -> dict[str, dict[str, Any]]:
    """File name under `reports/` → JSON schema."""
    return {
        "compare.schema.json": schema(Comparison, "what `recipe compare --json` prints", "recipelang.compare/1"),
        "run.schema.json": schema(Finished, "what `recipe run --json` prints", "recipelang.run/1"),
    }
