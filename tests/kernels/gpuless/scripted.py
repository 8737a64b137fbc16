"""Kernels and timers that do as they are told, so that choices are tested without a clock and without a GPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from gpuless.pretended import GPU as PRETENDED_GPU
from torch import Tensor

from recipelang.kernels.nm.format import Packed, pack
from recipelang.kernels.nm.problem import Problem
from recipelang.kernels.nm.reference import nm_mask

GPU = replace(PRETENDED_GPU, l2_bytes=50 << 20)


@dataclass
class Scripted:
    """A timer that answers what the script says, in the order in which samplers were asked for."""

    seconds: Sequence[float]
    samplers: int = 0
    samples: list[int] = field(default_factory=list)
    copies: list[int] = field(default_factory=list)

    def sampler(self, calls: Sequence[Callable[[], Tensor]]) -> Callable[[], float]:
        number = self.samplers
        self.samplers += 1
        self.copies.append(len(calls))
        calls[-1]()

        def sample() -> float:
            self.samples.append(number)
            return self.seconds[number]

        return sample


def weight(outputs: int = 32, inputs: int = 64, seed: int = 0) -> Packed:
    dense = torch.randn(outputs, inputs, generator=torch.Generator().manual_seed(seed))
    return pack((dense * nm_mask(dense.abs(), 2, 4)).half())


def problem(**changes: Any) -> Problem:
    return replace(Problem(8, 32, 64, torch.float16, GPU, torch.float16), **changes)
