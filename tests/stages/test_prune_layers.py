"""What `prune layers` may remove: what was removed once in a trial, and the reason where nothing can be."""

from __future__ import annotations

from typing import Any

import pytest
from torch import Tensor, nn

from recipelang.check import check
from recipelang.errors import Refusal
from recipelang.plan import steps_of
from recipelang.stages.prune import foresee
from recipelang.surgery.network import Network
from recipelang.syntax.parse import parse
from recipelang.verbs.prune import Prune

_STEPS = steps_of(check(parse("prune layers by magnitude until params < 0.9")).nodes)
ANY: Any = next(step.operation for step in _STEPS if isinstance(step.operation, Prune))


class Block(nn.Module):
    def __init__(self, rate: float) -> None:
        super().__init__()
        self.conv, self.rate = nn.Conv2d(4, 4, 3, padding=1), rate

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x)


class Net(nn.Module):
    def __init__(self, read: int) -> None:
        super().__init__()
        self.stem, self.head, self.read = nn.Conv2d(3, 4, 1), nn.Linear(4, 2), read
        self.blocks = nn.ModuleList(Block(0.5) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for number, block in enumerate(self.blocks):
            x = block(x) * block.rate if number < self.read else block(x)
        return self.head(x.mean((2, 3)))


def test_what_the_plan_counts_on_is_what_can_go() -> None:
    network = Network(Net(2), {}, (3, 8, 8))
    told = foresee(ANY, network, lambda _: None)
    assert told.found == ("1 layer can be removed: `blocks.2`",)
    assert told.limit and [edit.name for edit in told.limit.edits] == ["blocks.2"]


def test_where_nothing_can_go_the_reason_is_said() -> None:
    with pytest.raises(Refusal) as caught:
        foresee(ANY, Network(Net(3), {}, (3, 8, 8)), lambda _: None)
    assert caught.value.code == "RCP0910"
    assert "`blocks.0`: without it the network no longer runs: AttributeError" in caught.value.message
    assert "(and 2 more)" in caught.value.message
