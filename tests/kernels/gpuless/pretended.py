"""The CPU plays the part of a GPU with sparse tensor cores: kernels in plain torch, times from a script."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from recipelang.kernels.nm import chooser, registry
from recipelang.kernels.nm.format import Packed, unpack
from recipelang.kernels.nm.problem import Configuration, Device, Problem, activate
from recipelang.measuring.hardware import fingerprint
from recipelang.run import keys, premises
from recipelang.run.surroundings import surroundings

GPU = Device("cuda", "Test GPU", (9, 0), (3, 6), 801, 0)


@dataclass(frozen=True)
class Pretended:
    """A sparse kernel as far as tests go: the unpacked weight in plain torch, as wrong and picky as it is told to be.

    Attributes:
        name: in place of which kernel it stands.
        spoil: what becomes of a right result.
        refuses: why it computes nothing.
        tiles: its configurations.
        most: rows that it takes.
    """

    name: str = "pretended"
    spoil: Callable[[Tensor], Tensor] = lambda y: y
    refuses: str | None = None
    tiles: tuple[Configuration, ...] = ({"tile": 1},)
    most: int = 10_000
    layout: ClassVar[str] = "pretended"
    sparse: ClassVar[bool] = True

    def why_not(self, problem: Problem) -> str | None:
        return self.refuses or (f"more than {self.most} rows" if problem.rows > self.most else None)

    def operands(self, packed: Packed, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, ...]:
        return (unpack(packed, dtype).to(device),)

    def configurations(self, problem: Problem) -> tuple[Configuration, ...]:
        return self.tiles

    def run(self, x: Tensor, operands: tuple[Tensor, ...], bias: Tensor | None, problem: Problem, tiles: Any) -> Tensor:
        return self.spoil(activate(functional.linear(x, operands[0], bias), problem.activation))


def arrange(monkeypatch: pytest.MonkeyPatch, sparse: float = 1.0, kernel: Pretended | None = None) -> list[str]:
    """From here on the CPU is a GPU on which mma.sp takes `sparse` seconds and dense 2.

    Returns:
        grows by one entry for each kernel that is timed.
    """
    mine, timed = replace(kernel or Pretended(), name="mma.sp"), []

    class Timer:
        def __init__(self, graph: bool, device: torch.device) -> None:
            self.seconds = [2.0, sparse]

        def sampler(self, calls: Any) -> Callable[[], float]:
            time = self.seconds.pop(0)
            self.seconds.append(time)
            timed.append("timed")
            return lambda: time

    for place in ("runtimes.eager", "runtimes.sparse", "kernels.nm.operations", "stages.accelerate"):
        monkeypatch.setattr(f"recipelang.{place}.describe", lambda device: GPU)
    here = {**surroundings(), "devices": [GPU.name, sparse]}  # what was answered without the GPU is not asked for
    monkeypatch.setattr(premises, "surroundings", lambda: here)
    hardware = {**fingerprint(), "gpus": [GPU.name]}
    monkeypatch.setattr(keys, "fingerprint", lambda: hardware)
    monkeypatch.setattr("recipelang.runtimes.eager.CudaTimer", Timer)
    monkeypatch.setattr(chooser, "CANDIDATES", (registry.KERNELS["dense"], mine))
    monkeypatch.setitem(registry.KERNELS, "mma.sp", mine)  # type: ignore[arg-type]
    return timed
