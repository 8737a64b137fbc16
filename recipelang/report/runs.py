"""The runs that a report is about, where they were made, and what makes them hard to compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recipelang.report import words
from recipelang.report.record import Report
from recipelang.units import listed

WHEN = ("date",)  # entries of an environment that give a time, in which any two runs differ


@dataclass(frozen=True)
class RecordedRun:
    """One run that the report is about.

    Attributes:
        name: unique among the runs.
        report: the record.
        data: the JSON that the record was read from, unchanged.
        folder: where the run left its files; None if the record is all that is known.
    """

    name: str
    report: Report
    data: Mapping[str, Any]
    folder: Path | None = None


def environment(sources: Sequence[RecordedRun]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Where the runs were made: each entry of their environments, with its value in every run."""
    names = dict.fromkeys(name for source in sources for name in source.report.environment)
    return tuple(
        (name, tuple(words.plain(source.report.environment.get(name)) for source in sources)) for name in names
    )


def unlike(sources: Sequence[RecordedRun]) -> tuple[str, ...]:
    """What makes several runs hard to compare."""
    found = []
    for name, values in environment(sources):
        if len(set(values)) > 1 and name not in WHEN:
            differ = f"the runs differ in `{name}`: {listed(dict.fromkeys(values))}"
            kind = "qualities" if name == "data" else "times"
            found.append(f"{differ}; compare their {kind} only with their own healthy")
    measured = [{metric.name for metric in source.report.metrics} for source in sources]
    if len(sources) > 1 and all(measured) and not set.intersection(*measured):
        found.append("the runs have no metric in common: compare each only with its own healthy")
    splits: dict[str, set[str]] = {}
    for source in sources:
        for metric in source.report.metrics:
            splits.setdefault(metric.name, set()).add(f"{metric.split or 'no split'}, {metric.unit or 'no unit'}")
    for name, kinds in splits.items():
        if len(kinds) > 1:
            found.append(f"`{name}` was not measured in the same way in all runs: {listed(sorted(kinds))}")
    return tuple(found)
