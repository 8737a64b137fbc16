"""`accelerate with dense`: run masked layers as dense ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from recipelang.catalogue import method


@method("kernel", "dense")
@dataclass(frozen=True)
class Dense:
    """Run masked layers as dense ones, with the zeros multiplied.

    What: the path that every machine has, and the one that others are compared with. Named beside another kernel, as in
        `accelerate with cusparselt, dense`, it lets a layer stay dense if that kernel is not 3 % faster.
    When it misleads: the zeros save neither time nor memory; the report calls such layers "masked only".
    Source: torch.
    """

    executes: ClassVar[tuple[str, ...]] = ("dense",)
    int8: ClassVar[bool] = False
