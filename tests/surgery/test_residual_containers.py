"""Blocks however they are held: in lists, in lists of lists, shared, opaque, with computed and with scaled weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from residual_blocks import Block, Branch, D, Net
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from recipelang.surgery.edits import apply_edits, remove
from recipelang.surgery.network import Network
from recipelang.surgery.tracing import evaluating, example
from recipelang.surgery.trial import survey


class Container(nn.Module):
    """A body whose forward is given by the test."""

    def __init__(self, run: Callable[..., Tensor], blocks: nn.Module) -> None:
        super().__init__()
        self.run, self.blocks = run, blocks

    def forward(self, x: Tensor) -> Tensor:
        return self.run(self.blocks, x)


def _chain(call: Callable[[nn.Module, Tensor], Tensor]) -> Callable[..., Tensor]:
    def run(blocks: Any, x: Tensor) -> Tensor:
        for block in blocks:
            x = call(block, x)
        return x

    return run


def conv_net(body: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, D, 1), body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(D, 3))


def convs() -> nn.Module:
    return nn.Sequential(nn.Conv2d(D, D, 3, padding=1), nn.BatchNorm2d(D), nn.ReLU(), nn.Conv2d(D, D, 3, padding=1))


class Skip(nn.Module):
    """x + f(x)."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x)


def names(module: nn.Module, shape: tuple[int, int, int] = (3, 8, 8)) -> list[str]:
    return [layer.name for layer in survey(module, example(module, shape)).layers]


def test_a_container_of_added_branches_yields_them_and_a_layer_of_two_does_not() -> None:
    blocks = nn.ModuleList(convs() for _ in range(3))
    assert names(conv_net(Container(_chain(lambda b, x: x + b(x)), blocks))) == [f"1.blocks.{k}" for k in range(3)]
    nested = nn.ModuleList(nn.ModuleList([convs(), nn.Conv2d(D, D, 1)]) for _ in range(2))

    def pairs(blocks: Any, x: Tensor) -> Tensor:
        for first, second in blocks:
            x = x + first(x)
            x = second(x) + x
        return x

    assert names(conv_net(Container(pairs, nested))) == [f"1.blocks.{k}.{j}" for k in range(2) for j in range(2)]

    class Mixer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = convs(), convs()

        def forward(self, x: Tensor) -> Tensor:
            x = x + self.one(x)
            return x + self.two(x)

    assert names(conv_net(nn.Sequential(Mixer(), Mixer()))) == ["1.0", "1.1"]


class Opaque(nn.Module):
    """x + f(x), of weights that no module inside holds together."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(D, D, 1), nn.Conv2d(D, D, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.b(self.a(x).relu())


@pytest.mark.parametrize(
    "call",
    [lambda b, x: b.forward(x), lambda b, x: b(b(x))],
    ids=["called past their hooks", "called twice"],
)
def test_a_container_of_blocks_that_cannot_be_tested_is_no_layer(call: Callable[..., Tensor]) -> None:
    blocks = nn.ModuleList(Opaque() for _ in range(3))
    assert names(conv_net(Container(_chain(call), blocks))) == []
    assert names(conv_net(nn.Sequential(Container(_chain(call), blocks), Skip(convs())))) == ["1.1"]


def test_blocks_that_are_called_past_their_hooks_lose_their_branches() -> None:
    blocks = nn.ModuleList(Skip(convs()) for _ in range(3))
    found = names(conv_net(Container(_chain(lambda b, x: b.forward(x)), blocks)))
    assert found == [f"1.blocks.{k}.inner" for k in range(3)]


def test_one_block_that_runs_many_times_stays_and_the_reason_is_said() -> None:
    shared = Skip(convs())
    net = conv_net(Container(lambda blocks, x: blocks[0](blocks[0](x)), nn.ModuleList([shared])))
    found = survey(net, example(net, (3, 8, 8)))
    assert found.layers == () and found.stay == {"1.blocks.0": "it runs 2 times in one pass"}


def test_a_block_that_is_shared_without_a_list_is_named_as_well() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = Skip(convs())

        def forward(self, x: Tensor) -> Tensor:
            for _ in range(4):
                x = self.layer(x)
            return x

    net = conv_net(Shared())
    found = survey(net, example(net, (3, 8, 8)))
    assert found.layers == () and found.stay == {"1.layer": "it runs 4 times in one pass"}


def test_parallel_experts_in_a_list_are_one_layer() -> None:
    class Experts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.experts, self.out = nn.ModuleList(convs() for _ in range(3)), nn.Conv2d(D, D, 1)

        def forward(self, x: Tensor) -> Tensor:
            return x + self.out(sum(expert(x) for expert in self.experts) / 3)

    assert names(conv_net(nn.Sequential(Experts(), Experts()))) == ["1.0", "1.1"]


def test_no_convolution_of_a_block_with_a_shortcut_of_its_own_is_a_branch() -> None:
    class Down(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.short, self.a, self.b = nn.Conv2d(D, D, 1), nn.Conv2d(D, D, 3, padding=1), nn.Conv2d(D, D, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.short(x) + self.b(self.a(x).relu())

    assert names(conv_net(Down())) == []


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated")
@pytest.mark.parametrize("wrapped", ["weight_norm", "spectral_norm", "orthogonal", "old weight_norm", "standardised"])
def test_weights_that_are_computed_from_others(wrapped: str, wrap: Callable[..., Network]) -> None:
    class Standardised(nn.Conv2d):
        def forward(self, x: Tensor) -> Tensor:
            w = self.weight
            w = (w - w.mean((1, 2, 3), keepdim=True)) / w.std((1, 2, 3), keepdim=True)
            return nn.functional.conv2d(x, w, self.bias, padding=self.padding)

    def conv() -> nn.Module:
        layer = nn.Conv2d(D, D, 3, padding=1)
        if wrapped == "standardised":
            return Standardised(D, D, 3, padding=1)
        if wrapped == "old weight_norm":
            return nn.utils.weight_norm(layer)
        return getattr(parametrizations, wrapped)(layer)

    torch.manual_seed(0)
    module = conv_net(nn.Sequential(*[Skip(nn.Sequential(conv(), nn.ReLU(), conv())) for _ in range(3)]))
    before = {k: v.clone() for k, v in module.state_dict().items()}
    images = example(module, (3, 8, 8))
    with evaluating(module):
        whole = module(images)
    layers = survey(module, images).layers
    assert [layer.name for layer in layers] == ["1.0", "1.1", "1.2"]
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())
    with evaluating(module):
        assert torch.equal(module(images), whole)
    if wrapped != "old weight_norm":  # which cannot be copied
        smaller = apply_edits(Network(module, {}, (3, 8, 8)), [remove(layers[1])])
        with evaluating(smaller.module), evaluating(module):
            x = module[1][2](module[1][0](module[0](images)))
            torch.testing.assert_close(smaller.module(images), module[4](module[3](module[2](x))))


def test_layer_scale_and_stochastic_depth() -> None:
    from torchvision.ops import StochasticDepth

    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.gamma, self.drop = convs(), nn.Parameter(torch.full((D, 1, 1), 1e-6)), None
            self.drop = StochasticDepth(0.5, "row")

        def forward(self, x: Tensor) -> Tensor:
            return x + self.drop(self.gamma * self.inner(x))

    assert names(conv_net(nn.Sequential(Scaled(), Scaled()))) == ["1.0", "1.1"]


def test_an_answer_that_nothing_else_can_give_keeps_the_block_and_what_holds_it() -> None:
    class Counts(Block):
        def forward(self, x: Tensor, size: int) -> tuple[Tensor, int, float]:  # type: ignore[override]
            return x + self.branch(x), self.count(x, size), 0.0

        def count(self, x: Tensor, size: int) -> int:
            return size + len(x)  # of another batch it is another number

    class Passes(Counts):
        def count(self, x: Tensor, size: int) -> int:
            return size

    def run(blocks: Any, x: Tensor) -> Tensor:
        size = 7
        for block in blocks:
            x, size, _ = block(x, size)
        return x

    for kind, count in ((Counts, 0), (Passes, 2)):
        body = Container(run, nn.ModuleList(kind() for _ in range(2)))
        net = Net([body], lambda b, x, s: (b(x), s))
        found = survey(net, example(net, (3, 8, 8)))
        assert [layer.name for layer in found.layers] == [f"body.0.blocks.{k}" for k in range(count)]
        assert len(found.stay) == 2 - count
        assert all("that a stand-in cannot return" in why for why in found.stay.values())


def test_blocks_between_attention_and_feedforward_written_in_nested_lists() -> None:
    """A body as many vision transformers have it: every branch is a layer, with and without a norm at the end."""

    class Body(nn.Module):
        def __init__(self, norm: bool) -> None:
            super().__init__()
            self.layers = nn.ModuleList(nn.ModuleList([Branch(), Branch()]) for _ in range(2))
            self.norm = nn.LayerNorm(D) if norm else nn.Identity()

        def forward(self, x: Tensor) -> Tensor:
            for one, other in self.layers:
                x = one(x) + x
                x = other(x) + x
            return self.norm(x)

    for norm in (True, False):
        assert names(Net([Body(norm)], lambda b, x, s: (b(x), s))) == [
            f"body.0.layers.{k}.{j}" for k in range(2) for j in range(2)
        ]
