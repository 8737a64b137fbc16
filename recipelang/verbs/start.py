"""`start from NAME`: go back to a named state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True)
class Start:
    """Make a named state the current one."""

    verb: ClassVar[str] = "start"
    version: ClassVar[int] = 1
    role: ClassVar[str] = "structure"
    before_healthy: ClassVar[bool] = False

    state: str
