"""`train for DURATION [with OPTIMIZER]`: train the network before anything is removed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from recipelang.plan import Samples, Training


@dataclass(frozen=True)
class Train:
    """Train the network, from where it stands or from scratch."""

    verb: ClassVar[str] = "train"
    version: ClassVar[int] = 1
    role: ClassVar[str] = "training"
    before_healthy: ClassVar[bool] = True

    training: Training
    scratch: bool = False
    samples: Samples | None = None
