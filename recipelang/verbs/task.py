"""`task METHOD`: what the network is for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True)
class Task:
    """What the network is for: its loss and its metrics."""

    verb: ClassVar[str] = "task"
    version: ClassVar[int] = 1
    role: ClassVar[str] = "setup"
    before_healthy: ClassVar[bool] = True

    method: Any
