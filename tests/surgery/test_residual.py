"""Blocks however their parent calls them: by keyword, with a state, added by it, torch's own transformers.

Every network is built twice: what is removed by the log of edits on the second build must compute what a forward pass
written by hand computes without those blocks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from residual_blocks import Block, Branch, D, Net
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from recipelang.surgery.candidates import find_layers
from recipelang.surgery.deployed import deployed
from recipelang.surgery.edits import apply_edits, from_json, remove, replay
from recipelang.surgery.network import Network
from recipelang.surgery.parity import relative_difference
from recipelang.surgery.tracing import evaluating, example, example_input
from recipelang.surgery.trial import survey


class WithState(Block):
    """Passes a state on, and changes it."""

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        return x + self.branch(x + state), state + self.branch(x)


class Tupled(Block):
    """As the layers of language models are: keyword in, tuple out, followed by attention or None."""

    def forward(self, hidden_states: Tensor, attend: bool = False) -> tuple[Any, ...]:  # type: ignore[override]
        y = hidden_states + self.branch(hidden_states)
        return (y, y @ y.mT) if attend else (y, None)


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
