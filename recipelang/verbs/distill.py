"""`distill from STATE, … [for DURATION] [with LOSS, OPTIMIZER]`: train against teachers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from recipelang.plan import Samples, Training


@dataclass(frozen=True)
class Distill:
    """Train the network to agree with its teachers."""

    verb: ClassVar[str] = "distill"
    version: ClassVar[int] = 1
    role: ClassVar[str] = "training"
    before_healthy: ClassVar[bool] = False

    teachers: tuple[str, ...]
    training: Training
    samples: Samples | None = None
