"""`report FORMAT, … [to "DIR"]`: choose the forms of the comparison report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True)
class Report:
    """Write the comparison report in these forms."""

    verb: ClassVar[str] = "report"
    version: ClassVar[int] = 1
    role: ClassVar[str] = "outcome"
    before_healthy: ClassVar[bool] = False

    formats: tuple[Any, ...]
    to: str = ""
