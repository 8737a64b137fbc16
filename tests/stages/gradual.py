"""A residual network, and a training that may die, for the tests of parts that leave by a schedule."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from contexts import context
from torch import Tensor, nn

from recipelang.stages import prune
from recipelang.stages.context import Outcome
from recipelang.surgery.network import Network


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.norm, self.two = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.two(self.norm(self.one(x)).relu())


class Residual(nn.Module):
    """Three blocks with skip connections, and a hidden layer before the answer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.blocks = nn.Conv2d(3, 8, 3, padding=1), nn.Sequential(Block(), Block(), Block())
        self.hidden, self.head = nn.Linear(8, 12), nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.hidden(self.blocks(self.stem(x)).mean((2, 3))).relu())


class Progress:
    """Says nothing, and dies when `steps` training steps are done in all."""

    def __init__(self, steps: int | None = None) -> None:
        self.left, self.taken = steps, 0

    def start(self, what: str, total: int | None = None) -> None:
        self.trains, self.at_once = what == "training", True

    def advance(self, parts: int = 1, note: str = "") -> None:
        if self.trains and not self.at_once:
            self.taken += 1
            if self.taken == self.left:
                raise InterruptedError
        self.at_once = False  # the first call says how many steps were done before

    def stop(self) -> None: ...

    def say(self, line: str) -> None: ...


def network_of(kind: type[nn.Module]) -> Network:
    torch.manual_seed(0)
    return Network(kind().eval(), {}, (3, 8, 8), classes=("a", "b", "c"))


def tensors(outcome: Outcome) -> dict[str, bytes]:
    return {name: t.contiguous().numpy().tobytes() for name, t in outcome.network.tensors().items()}


def killed(plan: Any, network: Network, data: Any, folder: Path, deaths: Sequence[int]) -> tuple[Outcome, Outcome, int]:
    """The outcome of a run that nothing disturbed, that of one which dies after each of these numbers of steps, and how
    many steps were left for the last attempt."""
    whole = prune.run(plan, context(network, data, folder / "whole"))
    for steps in deaths:
        with pytest.raises(InterruptedError):
            prune.run(plan, context(network, data, folder / "killed", Progress(steps)))
    rest = Progress()
    return whole, prune.run(plan, context(network, data, folder / "killed", rest)), rest.taken
