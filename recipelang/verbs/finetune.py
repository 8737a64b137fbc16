"""`finetune for DURATION [with OPTIMIZER]`: tune what surgery left."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from recipelang.plan import Samples, Training


@dataclass(frozen=True)
class Finetune:
    """Tune the network after surgery."""

    verb: ClassVar[str] = "finetune"
    version: ClassVar[int] = 1
    role: ClassVar[str] = "training"
    before_healthy: ClassVar[bool] = False

    training: Training
    samples: Samples | None = None
