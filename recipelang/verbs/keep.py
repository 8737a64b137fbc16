"""`keep as NAME`: give the current state a name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True)
class Keep:
    """Give the current state a name, to start from or to distill from later."""

    verb: ClassVar[str] = "keep"
    version: ClassVar[int] = 1
    role: ClassVar[str] = "structure"
    before_healthy: ClassVar[bool] = True

    name: str
