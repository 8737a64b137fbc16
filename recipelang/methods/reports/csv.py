"""The comparison as CSV."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from recipelang.catalogue import method


@method("report", "csv")
@dataclass(frozen=True)
class CsvReport:
    """The comparison as `report.csv`: a row for every network, seed and metric, numbers in base units.

    What: variant, kind, seed (empty for the mean over seeds), metric, unit, split, value, interval, and how it
    compares with healthy. Seconds, bytes, counts, and fractions of 1; for spreadsheets and data frames.
    When it misleads: the mean over seeds is listed beside the seeds it is computed from; select by `seed`.
    """

    file: ClassVar[str] = "report.csv"
    template: ClassVar[str] = "report.csv.j2"
    charts: ClassVar[str] = ""
