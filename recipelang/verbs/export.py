"""`export FORMAT, … [to "DIR"]`: write the deployed network for use elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True)
class Export:
    """Write the network for use without recipelang."""

    verb: ClassVar[str] = "export"
    version: ClassVar[int] = 1
    role: ClassVar[str] = "outcome"
    before_healthy: ClassVar[bool] = False

    formats: tuple[Any, ...]
    to: str = ""
