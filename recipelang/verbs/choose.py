"""`choose by METRIC` or `choose first`: make one variant current."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from recipelang.plan import Reading


@dataclass(frozen=True)
class Choose:
    """Make the best variant current, or the first that meets every expectation above."""

    verb: ClassVar[str] = "choose"
    version: ClassVar[int] = 1
    role: ClassVar[str] = "structure"
    before_healthy: ClassVar[bool] = False

    by: Reading | None  # None: the first that meets every `expect`
