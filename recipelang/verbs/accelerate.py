"""`accelerate [with KERNEL] [by latency | memory]`: execute sparse layers as sparse in the deployed form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from recipelang.plan import Selection


@dataclass(frozen=True)
class Accelerate:
    """Execute N:M-sparse layers as sparse, where this machine can and it pays."""

    verb: ClassVar[str] = "accelerate"
    version: ClassVar[int] = 1
    role: ClassVar[str] = "execution"
    before_healthy: ClassVar[bool] = False

    kernels: tuple[Any, ...] = ()
    goal: str = "latency"
    selection: Selection = Selection()
