"""A removable layer is one that was removed once in a trial."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import permutations
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from recipelang.surgery.candidates import find_layers
from recipelang.surgery.edits import apply_edits, remove
from recipelang.surgery.network import Network
from recipelang.surgery.tracing import example, example_input
from recipelang.surgery.trial import _groups, survey


class Block(nn.Module):
    def __init__(self, rate: float = 1.0) -> None:
        super().__init__()
        self.conv, self.rate = nn.Conv2d(4, 4, 3, padding=1), rate

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x)

    def scaled(self, x: Tensor) -> Tensor:
        return x * self.rate


class Net(nn.Module):
    def __init__(self, forward: Callable[..., Tensor], blocks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.stem, self.blocks, self.head = nn.Conv2d(3, 4, 1), nn.ModuleList(blocks), nn.Linear(4, 2)
        self.body = forward

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.blocks, self.stem(x)).mean((2, 3)))


def plain(blocks: Any, x: Tensor) -> Tensor:
    for block in blocks:
        x = block(x)
    return x


def reads(number: int) -> Callable[..., Tensor]:
    return lambda blocks, x: plain(blocks, x) * blocks[number].rate


def asks(blocks: Any, x: Tensor) -> Tensor:
    for k, block in enumerate(blocks):
        x = block.scaled(block(x)) if k == 1 else block(x)
    return x


def looks(blocks: Any, x: Tensor) -> Tensor:
    for k, block in enumerate(blocks):
        x = block(x)
        x = 2 * x if k == 2 and isinstance(block, Block) else x
    return x


@pytest.mark.parametrize(
    ("forward", "stays", "why"),
    [
        (reads(0), 0, "no attribute 'rate'"),
        (reads(4), 4, "no attribute 'rate'"),
        (asks, 1, "no attribute 'scaled'"),
        (looks, 2, "more changes than that layer"),
    ],
    ids=["an attribute", "of the last", "a method", "the class"],
)
def test_a_layer_of_which_more_is_asked_stays(
    forward: Callable[..., Tensor], stays: int, why: str, wrap: Callable[..., Network]
) -> None:
    network = wrap(Net(forward, [Block(0.5) for _ in range(5)]))
    images = example_input(network)
    assert len(find_layers(network.module, images)) == 5
    before = list(network.module.named_modules())
    found = survey(network.module, images)
    assert [layer.name for layer in found.layers] == [f"blocks.{k}" for k in range(5) if k != stays]
    assert list(found.stay) == [f"blocks.{stays}"] and why in found.stay[f"blocks.{stays}"]
    assert before == list(network.module.named_modules())  # the very same modules
    assert not any("forward" in vars(part) for _, part in before)
    apply_edits(network, [remove(layer) for layer in found.layers])


def test_a_layer_that_another_layer_reads_stays() -> None:
    """Both are removed together without trouble: the reader is removed too."""

    class Reader(Block):
        def forward(self, x: Tensor) -> Tensor:
            return x + self.conv(x) * self.other[0].rate

    blocks = [Block() for _ in range(3)] + [Reader()]
    blocks[3].other = [blocks[1]]
    net = Net(plain, blocks)
    net.blocks[3].other = _Looking(net)
    found = survey(net, example(net, (3, 8, 8)))
    assert [layer.name for layer in found.layers] == ["blocks.0", "blocks.2", "blocks.3"]


class _Looking:
    """Finds a block in the network when it is asked, as a block that holds its parent does."""

    def __init__(self, net: nn.Module) -> None:
        self.net = [net]

    def __getitem__(self, index: int) -> Any:
        return self.net[0].blocks[1]


def test_layers_of_which_one_must_stay() -> None:
    def one_left(blocks: Any, x: Tensor) -> Tensor:
        assert any(isinstance(block, Block) for block in blocks), "no block is left"
        return plain(blocks, x)

    net = Net(one_left, [Block() for _ in range(4)])
    found = survey(net, example(net, (3, 8, 8)))
    assert [layer.name for layer in found.layers] == ["blocks.0", "blocks.1", "blocks.2"]
    assert "after those before it are removed" in found.stay["blocks.3"]
    assert "no block is left" in found.stay["blocks.3"]


@pytest.mark.parametrize("count", range(1, 20))
def test_any_two_layers_are_apart_in_some_group(count: int) -> None:
    groups = [set(group) for group in _groups(count)]
    assert all(any(a in g and b not in g for g in groups) for a, b in permutations(range(count), 2))
    assert set(range(count)) in groups
    assert len(groups) <= 1 + 2 * max(1, (count - 1).bit_length())


def test_runs_of_layers_are_tried_as_well() -> None:
    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(*[m for _ in range(3) for m in (nn.Conv2d(3, 3, 3, padding=1), nn.ReLU())])

        def forward(self, x: Tensor) -> Tensor:
            return self.body(x).mean((2, 3)) * self.body[2].groups

    net = Plain()
    found = survey(net, example(net, (3, 8, 8)))
    assert [layer.name for layer in found.layers] == ["body.0", "body.4"]
    assert list(found.stay) == ["body.2"]
    assert torch.is_grad_enabled()
