"""`expect CONDITION`: the verdict on the result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from recipelang.plan import Condition


@dataclass(frozen=True)
class Expect:
    """Fail (exit 4) unless the condition holds; before `choose` it filters."""

    verb: ClassVar[str] = "expect"
    version: ClassVar[int] = 1
    role: ClassVar[str] = "outcome"
    before_healthy: ClassVar[bool] = False

    condition: Condition
