"""`recalibrate [on DATA]`: estimate BatchNorm statistics anew."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from recipelang.plan import Samples


@dataclass(frozen=True)
class Recalibrate:
    """Estimate the running statistics of every BatchNorm anew, without training."""

    verb: ClassVar[str] = "recalibrate"
    version: ClassVar[int] = 1
    role: ClassVar[str] = "training"
    before_healthy: ClassVar[bool] = False

    samples: Samples = Samples("train", 2048)
