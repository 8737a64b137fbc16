"""`seeds 0, 1, 2`: what follows runs once per seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True)
class Seeds:
    """The seeds for everything that follows."""

    verb: ClassVar[str] = "seeds"
    version: ClassVar[int] = 1
    role: ClassVar[str] = "setup"
    before_healthy: ClassVar[bool] = True

    values: tuple[int, ...]
