"""The CPU plays the part of a GPU with sparse tensor cores: kernels in plain torch, times from a script."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from recipelang.kernels.nm import chooser, registry
from recipelang.kernels.nm.format import Packed, unpack
from recipelang.kernels.nm.problem import Device, Problem, activate

GPU = Device("cuda", "Test GPU", (9, 0), (3, 6), 801, 0)


@dataclass(frozen=True)
class Pretended:
    """`mma.sp` as far as this test goes: the unpacked weight, times `factor`."""

    factor: float = 1.0
    most: int = 10_000
    name: ClassVar[str] = "mma.sp"
    layout: ClassVar[str] = "pretended"
    sparse: ClassVar[bool] = True

    def why_not(self, problem: Problem) -> str | None:
        if problem.dtype == torch.float32:
            return "it needs 16-bit numbers"
        return f"more than {self.most} rows" if problem.rows > self.most else None

    def operands(self, packed: Packed, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, ...]:
        return (unpack(packed, dtype).to(device),)

    def configurations(self, problem: Problem) -> tuple[dict[str, int], ...]:
        return ({"TN": 2},)

    def run(self, x: Tensor, operands: tuple[Tensor, ...], bias: Tensor | None, problem: Problem, tiles: Any) -> Tensor:
        return activate(functional.linear(x, operands[0], bias), problem.activation) * self.factor


def arrange(monkeypatch: pytest.MonkeyPatch, sparse: float = 1.0, kernel: Pretended | None = None) -> list[str]:
    """From here on the CPU is a GPU on which mma.sp takes `sparse` seconds and dense 2.

    Returns:
        grows by one entry for each kernel that is timed.
    """
    mine, timed = kernel or Pretended(), []

    class Timer:
        def __init__(self, graph: bool, device: torch.device) -> None:
            self.seconds = [2.0, sparse]

        def sampler(self, calls: Any) -> Callable[[], float]:
            time = self.seconds.pop(0)
            self.seconds.append(time)
            timed.append("timed")
            return lambda: time

    for place in ("surgery.deployed", "surgery.accelerated", "kernels.nm.operations", "stages.accelerate"):
        monkeypatch.setattr(f"recipelang.{place}.describe", lambda device: GPU)
    monkeypatch.setattr("recipelang.surgery.deployed.CudaTimer", Timer)
    monkeypatch.setattr(chooser, "CANDIDATES", (registry.KERNELS["dense"], mine))
    monkeypatch.setitem(registry.KERNELS, "mma.sp", mine)  # type: ignore[arg-type]
    return timed
