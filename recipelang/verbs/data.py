"""`data METHOD [as NAME]`: the data to work on, or a second data set by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True)
class Data:
    """The data to work on; with a name, another data set to measure on."""

    verb: ClassVar[str] = "data"
    version: ClassVar[int] = 1
    role: ClassVar[str] = "setup"
    before_healthy: ClassVar[bool] = True

    method: Any
    name: str = ""
