"""Self-attention made of layers that are called computes the same as before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from recipelang.surgery.attention import SelfAttention, original_path, unfold_attention
from recipelang.surgery.network import Network
from recipelang.surgery.removable import find_removable
from recipelang.surgery.removal import remove_channels
from recipelang.surgery.tracing import evaluating


class Net(nn.Module):
    """Two rounds of attention over the pixels of an image; `call` says how the second is called."""

    def __init__(self, call: Callable[..., Any], **settings: Any) -> None:
        super().__init__()
        self.call = call
        self.first = nn.MultiheadAttention(12, 3, batch_first=True)
        self.second = nn.MultiheadAttention(12, 2, **{"batch_first": True} | settings)
        self.head = nn.Linear(12, 5)

    def forward(self, images: Tensor) -> Tensor:
        x = images.flatten(2).transpose(1, 2)
        x = x + self.first(x, x, x, need_weights=False)[0]
        if not self.second.batch_first:
            x = x.transpose(0, 1)
        x = x + self.call(self.second, x)[0]
        return self.head(x if self.second.batch_first else x.transpose(0, 1)).mean(1)


def itself(attention: Any, x: Tensor) -> Any:
    return attention(x, x, x, need_weights=False)


def by_name(attention: Any, x: Tensor) -> Any:
    return attention(query=x, key=x, value=x, key_padding_mask=None, need_weights=False, attn_mask=None)


def shifted(attention: Any, x: Tensor) -> Any:
    return attention(x, x.roll(1, 1), x, need_weights=False)


def masked(attention: Any, x: Tensor) -> Any:
    return attention(x, x, x, need_weights=False, attn_mask=torch.zeros(4, 4))


def weighted(attention: Any, x: Tensor) -> Any:
    y, weights = attention(x, x, x)
    return y * weights.sum(), None


def network(call: Callable[..., Any], **settings: Any) -> nn.Module:
    torch.manual_seed(0)
    net = Net(call, **settings).eval().requires_grad_(False)
    for part in (net.first, net.second):
        if part.in_proj_bias is not None:
            part.in_proj_bias.normal_()  # torch starts biases at zero, where a mistake would not show
            part.out_proj.bias.normal_()
    return net


IMAGES = torch.randn(3, 12, 2, 2, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("call", [itself, by_name])
@pytest.mark.parametrize("settings", [{}, {"batch_first": False}, {"bias": False}, {"dropout": 0.5}])
def test_it_computes_the_same_by_layers_that_are_called(call: Callable[..., Any], settings: dict[str, Any]) -> None:
    net = network(call, **settings)
    unfolded = unfold_attention(net, IMAGES)
    assert type(unfolded.first) is type(unfolded.second) is SelfAttention
    called = []
    for path in ("first.in_proj", "first.out_proj", "second.in_proj", "second.out_proj"):
        part = unfolded.get_submodule(path)
        part.register_forward_hook(lambda *_, path=path: called.append(path))
    with evaluating(net), evaluating(unfolded):
        torch.testing.assert_close(unfolded(IMAGES), net(IMAGES), rtol=1e-5, atol=1e-5)
    assert called == ["first.in_proj", "first.out_proj", "second.in_proj", "second.out_proj"]
    assert type(net.first) is nn.MultiheadAttention, "the original stays as it is"


@pytest.mark.parametrize(
    ("call", "settings"),
    [(shifted, {}), (masked, {}), (weighted, {}), (itself, {"add_zero_attn": True}), (itself, {"add_bias_kv": True}),
     (lambda attention, x: (attention(x, x, x, need_weights=False)[0] + shifted(attention, x)[0], None), {})],
    ids=["other keys", "a mask", "weights wanted", "a zero key", "a bias key", "also called otherwise"],
)  # fmt: skip
def test_anything_else_is_left_alone(call: Callable[..., Any], settings: dict[str, Any]) -> None:
    unfolded = unfold_attention(network(call, **settings), IMAGES)
    assert type(unfolded.first) is SelfAttention
    assert type(unfolded.second) is nn.MultiheadAttention


def test_a_network_without_attention_is_not_even_copied() -> None:
    plain = nn.Sequential(nn.Flatten(), nn.Linear(48, 4)).eval()
    assert unfold_attention(plain, IMAGES) is plain


def test_an_encoder_layer_that_never_calls_its_attention_is_left_alone() -> None:
    layer = nn.TransformerEncoderLayer(12, 3, batch_first=True).eval().requires_grad_(False)
    net = nn.Sequential(nn.Flatten(2), nn.Linear(4, 12), layer, nn.Flatten(), nn.Linear(144, 3)).eval()
    unfolded = unfold_attention(net, IMAGES)
    with evaluating(net), evaluating(unfolded):
        torch.testing.assert_close(unfolded(IMAGES), net(IMAGES))


def test_an_owner_that_reads_the_weights_keeps_its_attention() -> None:
    def reading(attention: Any, x: Tensor) -> Any:
        return attention(x, x, x, need_weights=False)[0] * attention.in_proj_weight.mean(), None

    net = network(reading)
    assert unfold_attention(net, IMAGES) is net


def test_layers_are_known_by_their_old_paths() -> None:
    unfolded = unfold_attention(network(itself), IMAGES)
    found = [original_path(unfolded, path) for path in ("first.in_proj", "first.out_proj", "head")]
    assert found == ["first", "first.out_proj", "head"]


def test_attention_without_some_of_its_heads_is_unfolded_too() -> None:
    net = network(itself)
    found = find_removable(Network(net, {}, (12, 2, 2)))
    gone = {group.name: [1] for group in found.groups if group.kind == "heads"}
    smaller = remove_channels(Network(net, {}, (12, 2, 2)), found, gone).network.module.eval()
    assert (smaller.first.num_heads, smaller.second.num_heads) == (2, 1)
    images = torch.randn(2, 12, 2, 2)
    unfolded = unfold_attention(smaller, images)
    assert all(isinstance(part, SelfAttention) for part in (unfolded.first, unfolded.second))
    with evaluating(smaller), evaluating(unfolded):
        torch.testing.assert_close(unfolded(images), smaller(images))
