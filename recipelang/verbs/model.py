"""`model METHOD [as NAME]`: the network to work on, or a second one by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True)
class Model:
    """The network to work on; with a name, another network to distill from."""

    verb: ClassVar[str] = "model"
    version: ClassVar[int] = 1
    role: ClassVar[str] = "setup"
    before_healthy: ClassVar[bool] = True

    method: Any
    name: str = ""
