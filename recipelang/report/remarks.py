"""What a reader should know before the numbers: how networks were loaded, and what needs attention."""

from __future__ import annotations

from collections.abc import Sequence

from recipelang.report.record import Trouble
from recipelang.report.rows import Row
from recipelang.report.runs import RecordedRun
from recipelang.units import listed


def arrivals(found: Sequence[Row], sources: Sequence[RecordedRun]) -> tuple[str, ...]:
    """The notes of the steps that loaded networks, each once."""
    told: dict[str, None] = {}
    for row in found:
        run = f"{sources[row.origin].name}: " if len(sources) > 1 else ""
        for step in (step for run_ in row.variant.runs for step in run_.steps):
            if step.verb == "model" and step.note:
                told[f"{run}`{step.text}`: {step.note}"] = None
    return tuple(told)


def warnings(sources: Sequence[RecordedRun]) -> tuple[str, ...]:
    """The warnings of the records, each once, with the names of the runs that have it if there are several."""
    told: dict[str, dict[str, None]] = {}
    for source in sources:
        for warning in source.report.warnings:
            told.setdefault(_warning(warning), {})[source.name] = None
    if len(sources) == 1:
        return tuple(told)
    return tuple(f"{listed(names, most=3)}: {warning}" for warning, names in told.items())


def _warning(warning: str | Trouble) -> str:
    if isinstance(warning, str):
        return warning
    place = f"line {warning.line}: " if warning.line else ""
    code = f" ({warning.code})" if warning.code else ""
    return f"{place}{warning.message}{code}" + (f". {warning.help}" if warning.help else "")
