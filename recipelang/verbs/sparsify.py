"""`sparsify PATTERN [by CRITERION] …`: set weights to zero in a pattern."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from recipelang.plan import Samples, Selection


@dataclass(frozen=True)
class Sparsify:
    """Set weights to zero in a pattern that a machine can use; masks stay through later training."""

    verb: ClassVar[str] = "sparsify"
    version: ClassVar[int] = 1
    role: ClassVar[str] = "surgery"
    before_healthy: ClassVar[bool] = False

    pattern: Any
    criterion: Any
    selection: Selection = Selection()
    samples: Samples = Samples("train")
