"""The comparison as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from recipelang.catalogue import method


@method("report", "json")
@dataclass(frozen=True)
class JsonReport:
    """The comparison as `comparison.json`, for programs: the same as `recipe compare --json` prints.

    What: the columns; every network with its numbers, intervals and standard deviations over seeds, healthy's and the
    control's beside them, the networks that dominate it, the columns in which it is best, what its steps were asked for
    and reached, how its layers execute, and what it cost to make; the verdicts. `reports/compare.schema.json` describes
    it. The record of a run, with every curve and ranking, is `report.json`, which is always written.
    When it misleads: numbers are in base units (seconds, bytes, fractions of 1); `noise` says which changes
    mean nothing.
    """

    file: ClassVar[str] = "comparison.json"
    template: ClassVar[str] = "comparison.json.j2"
    charts: ClassVar[str] = ""
