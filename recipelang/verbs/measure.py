"""`measure METRIC, … [on DATA, …]`: measure here, and show these columns in the report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from recipelang.plan import Reading


@dataclass(frozen=True)
class Measure:
    """Metrics to measure here and to show in the report."""

    verb: ClassVar[str] = "measure"
    version: ClassVar[int] = 1
    role: ClassVar[str] = "setup"
    before_healthy: ClassVar[bool] = True

    readings: tuple[Reading, ...]
