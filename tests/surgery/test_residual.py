"""Blocks as people write them: called by keyword, with a state, added by their parent, with computed weights.

Every network is built twice: what is removed by the log of edits on the second build must compute what a forward pass
written by hand computes without those blocks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint

from recipelang.surgery.candidates import find_layers
from recipelang.surgery.deployed import deployed
from recipelang.surgery.edits import apply_edits, from_json, remove, replay
from recipelang.surgery.network import Network
from recipelang.surgery.parity import relative_difference
from recipelang.surgery.tracing import evaluating, example, example_input
from recipelang.surgery.trial import survey

D = 8


class Block(nn.Module):
    """x + f(x), with more arguments than it needs."""

    def __init__(self, width: int = D) -> None:
        super().__init__()
        self.norm, self.up, self.down = nn.LayerNorm(width), nn.Linear(width, 12), nn.Linear(12, width)

    def branch(self, x: Tensor) -> Tensor:
        return self.down(self.up(self.norm(x)).relu())

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        return x + self.branch(x) * (1 if mask is None else mask)


class WithState(Block):
    """Passes a state on, and changes it."""

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        return x + self.branch(x + state), state + self.branch(x)


class Tupled(Block):
    """As the layers of language models are: keyword in, tuple out, followed by attention or None."""

    def forward(self, hidden_states: Tensor, attend: bool = False) -> tuple[Any, ...]:  # type: ignore[override]
        y = hidden_states + self.branch(hidden_states)
        return (y, y @ y.mT) if attend else (y, None)


class Branch(Block):
    """f(x) alone: the parent adds it."""

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return self.branch(x)


class Net(nn.Module):
    """Patches to tokens, blocks, mean, head; `step` says how a block is called."""

    def __init__(self, blocks: list[nn.Module], step: Callable[..., Any], norm: bool = False) -> None:
        super().__init__()
        self.patch, self.body, self.head = nn.Conv2d(3, D, 2, 2), nn.ModuleList(blocks), nn.Linear(D, 5)
        self.norm = nn.LayerNorm(D) if norm else nn.Identity()
        self.step = step

    def tokens(self, x: Tensor) -> Tensor:
        return self.patch(x).flatten(2).transpose(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.tokens(x)
        state = torch.zeros_like(x)
        for block in self.body:
            x, state = self.step(block, x, state)
        return self.head(self.norm(x).mean(1) + state.mean(1))


STEPS: dict[str, tuple[type[nn.Module], Callable[..., Any]]] = {
    "a keyword beside": (Block, lambda b, x, s: (b(x, mask=torch.ones(())), s)),
    "all by keyword": (Block, lambda b, x, s: (b(mask=None, x=x), s)),
    "a state": (WithState, lambda b, x, s: b(x, s)),
    "a state by keyword": (WithState, lambda b, x, s: b(state=s, x=x)),
    "a tuple": (Tupled, lambda b, x, s: (b(hidden_states=x)[0], s)),
    "a tuple with an unread item": (Tupled, lambda b, x, s: (b(x, attend=True)[0], s)),
    "checkpointed": (Block, lambda b, x, s: (checkpoint(b, x, use_reentrant=False), s)),
    "checkpointed with reentry": (Block, lambda b, x, s: (checkpoint(b, x, None, use_reentrant=True), s)),
    "added": (Branch, lambda b, x, s: (x + b(x), s)),
    "added in place": (Branch, lambda b, x, s: (b(x).add_(x), s)),
    "added, scaled and dropped": (Branch, lambda b, x, s: (x + nn.functional.dropout(0.3 * b(x), 0.1, False), s)),
    "added after an activation": (Branch, lambda b, x, s: (x + b(x).relu(), s)),
    "added to what was normed": (Branch, lambda b, x, s: (x + b(nn.functional.layer_norm(x, (D,))), s)),
}


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
@pytest.mark.parametrize("name", STEPS)
def test_blocks_however_they_are_called(name: str, wrap: Callable[..., Network]) -> None:
    kind, step = STEPS[name]
    torch.manual_seed(1)
    network = wrap(Net([kind() for _ in range(3)], step))
    layers = survey(network.module, example_input(network))
    assert [layer.name for layer in layers.layers] == ["body.0", "body.1", "body.2"] and not layers.stay
    smaller = apply_edits(network, [remove(layers.layers[1]), remove(layers.layers[0])])
    by_hand = Net([network.module.body[2]], step)
    by_hand.patch, by_hand.head = network.module.patch, network.module.head
    images = example_input(network)
    with evaluating(by_hand), evaluating(smaller.module), evaluating(network.module):
        torch.testing.assert_close(smaller.module(images), by_hand(images))
        assert relative_difference(network.module(images), by_hand(images)) > 1e-3
    # The log makes the same of a fresh build, and the deployed form is exported.
    again = Net([kind() for _ in range(3)], step)
    replay(again, [from_json(edit.json()) for edit in smaller.edits])
    again.load_state_dict(smaller.module.state_dict())
    with evaluating(again), evaluating(smaller.module):
        assert torch.equal(again(images), smaller.module(images))
    if "checkpoint" not in name:
        program = torch.export.export(deployed(smaller), (images,))
        with torch.no_grad(), evaluating(smaller.module):
            torch.testing.assert_close(program.module()(images), smaller.module(images), atol=1e-5, rtol=1e-4)
    # It still trains.
    smaller.module.train()(images).sum().backward()
    assert all(p.grad is not None for p in smaller.module.body.parameters())


class Encoded(nn.Module):
    """Torch's own encoder or decoder, as a body."""

    def __init__(self, body: nn.Module, memory: bool = False) -> None:
        super().__init__()
        self.patch, self.body, self.head = nn.Conv2d(3, D, 2, 2), body, nn.Linear(D, 5)
        self.memory = memory

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)
        return self.head((self.body(x, x) if self.memory else self.body(x)).mean(1))


def encoder(norm_first: bool, norm: bool, depth: int = 3) -> nn.Module:
    layer = nn.TransformerEncoderLayer(D, 2, 16, 0.1, batch_first=True, norm_first=norm_first)
    return nn.TransformerEncoder(layer, depth, nn.LayerNorm(D) if norm else None, enable_nested_tensor=False)


def decoder(norm_first: bool, norm: bool) -> nn.Module:
    layer = nn.TransformerDecoderLayer(D, 2, 16, 0.1, batch_first=True, norm_first=norm_first)
    return nn.TransformerDecoder(layer, 3, nn.LayerNorm(D) if norm else None)


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("build", [encoder, decoder])
def test_the_layers_of_torchs_transformers(
    build: Callable[[bool, bool], nn.Module], norm: bool, wrap: Callable[..., Network]
) -> None:
    torch.manual_seed(0)
    network = wrap(Encoded(build(True, norm), build is decoder))
    layers = survey(network.module, example_input(network)).layers
    assert [layer.name for layer in layers] == [f"body.layers.{k}" for k in range(3)]
    smaller = apply_edits(network, [remove(layers[0])])
    by_hand = Encoded(build(True, norm), build is decoder)
    by_hand.body.layers = nn.ModuleList(list(network.module.body.layers)[1:])
    by_hand.patch, by_hand.head, by_hand.body.norm = network.module.patch, network.module.head, network.module.body.norm
    images = example_input(network)
    with evaluating(smaller.module), evaluating(by_hand):
        torch.testing.assert_close(smaller.module(images), by_hand(images))
    everything = apply_edits(network, [remove(layer) for layer in layers])
    assert find_layers(everything.module, images) == ()


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("build", [encoder, decoder])
def test_where_a_norm_follows_the_sum_nothing_goes_and_the_reason_is_said(
    build: Callable[[bool, bool], nn.Module], norm: bool, wrap: Callable[..., Network]
) -> None:
    network = wrap(Encoded(build(False, norm), build is decoder))
    found = survey(network.module, example_input(network))
    assert found.layers == ()
    assert list(found.stay) == [f"body.layers.{k}" for k in range(3)]
    assert all("no skip connection carries the input past it" in why for why in found.stay.values())


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


def test_imprinting_sees_the_sum_of_an_added_branch() -> None:
    from recipelang.surgery.watching import watching_layers

    torch.manual_seed(0)
    net = Net([Branch() for _ in range(2)], STEPS["added to what was normed"][1])
    images = example(net, (3, 8, 8))
    layers = survey(net, images).layers
    seen: dict[tuple[str, str], Tensor] = {}
    with evaluating(net), watching_layers(net, layers, lambda name, side, x: seen.update({(name, side): x.clone()})):
        net(images)
    with evaluating(net):
        x = net.tokens(images)
        for k, block in enumerate(net.body):
            y = x + block(nn.functional.layer_norm(x, (D,)))
            torch.testing.assert_close(seen[f"body.{k}", "input"], x)
            torch.testing.assert_close(seen[f"body.{k}", "output"], y)
            x = y


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
