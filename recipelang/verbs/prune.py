"""`prune [N] UNIT by CRITERION [until BUDGET] [while GUARD] …`: remove parts of the network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from recipelang.plan import Condition, Samples, Selection, Training


@dataclass(frozen=True)
class Prune:
    """Remove the least important units until a budget holds, or so many of them."""

    verb: ClassVar[str] = "prune"
    version: ClassVar[int] = 1
    role: ClassVar[str] = "surgery"
    before_healthy: ClassVar[bool] = False

    unit: str
    criterion: Any
    count: int | None = None  # so many units
    share: float | None = None  # or this share of what stands when the statement starts
    until: Condition | None = None
    guard: Condition | None = None
    selection: Selection = Selection()
    rounds: int = 1
    training: Training | None = None  # shared out between the rounds
    samples: Samples = Samples("train")  # what the criterion looks at
