"""The comparison as CSV."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from recipelang.catalogue import method


@method("report", "csv")
@dataclass(frozen=True)
class CsvReport:
    """The comparison as `report.csv`: a row for every network, seed and metric, numbers in base units.

    What: variant, kind, seed (empty for the mean over seeds), metric, unit, split, value, interval, how it compares
    with healthy and with the control, standard deviation and number of seeds, whether it is the best of its column or
    dominated, and rows for what each network cost to make. Beside it are `report-steps.csv` (what every step was asked
    for and reached), `report-layers.csv` (how every layer executes, its width, zeros and bits before and after) and
    `report-times.csv` (what every layer takes, where a profile was measured). Seconds, bytes, counts, fractions of 1.
    When it misleads: the mean over seeds is listed beside the seeds it is computed from; select by `seed`.
    """

    file: ClassVar[str] = "report.csv"
    template: ClassVar[str] = "report.csv.j2"
    charts: ClassVar[str] = ""
    beside: ClassVar[Mapping[str, str]] = {
        "report-steps.csv": "report-steps.csv.j2",
        "report-layers.csv": "report-layers.csv.j2",
        "report-times.csv": "report-times.csv.j2",
    }
