"""Attention of torch whose heads can be removed: it computes what the layer of torch computes, with any arguments."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from recipelang.errors import Refusal
from recipelang.methods.units.heads import Heads
from recipelang.methods.units.neurons import Neurons
from recipelang.plan import Selection
from recipelang.surgery.edits import apply_edits, from_json
from recipelang.surgery.edits.unfold_attention import UnfoldAttention
from recipelang.surgery.headed import Headed, foldable, unfold, unfolded
from recipelang.surgery.network import Network
from recipelang.surgery.removable import Removable
from recipelang.surgery.removal import Removed

Law = Callable[..., tuple[Removable, Removed]]
LAYERS = {
    "plain": {},
    "no bias": {"bias": False},
    "length first": {"batch_first": False},
    "own widths": {"kdim": 12, "vdim": 20},
    "biases among the keys": {"add_bias_kv": True},
    "a zero among the keys": {"add_zero_attn": True, "add_bias_kv": True},
}
MASKS: dict[str, dict[str, Any]] = {
    "none": {},
    "images": {"key_padding_mask": torch.tensor([[False] * 5 + [True], [False] * 6])},
    "images in numbers": {"key_padding_mask": torch.randn(2, 6)},
    "scores": {"attn_mask": torch.randn(4, 6)},
    "scores, truly": {"attn_mask": torch.ones(4, 6).triu(2).bool()},
    "scores of heads": {"attn_mask": torch.randn(2 * 4, 4, 6)},
    "both": {"attn_mask": torch.randn(4, 6), "key_padding_mask": torch.randn(2, 6)},
}


def pair(**settings: Any) -> tuple[nn.MultiheadAttention, nn.MultiheadAttention]:
    torch.manual_seed(0)
    layer = nn.MultiheadAttention(16, 4, **{"batch_first": True, **settings}).eval()
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    other = copy.deepcopy(layer)
    box = nn.Sequential(other)
    unfold(box, ["0"])
    assert isinstance(other, Headed) and isinstance(other, nn.MultiheadAttention)
    assert list(other.state_dict()) == list(layer.state_dict())
    return layer, other


def tensors(layer: nn.MultiheadAttention) -> list[Tensor]:
    parts = [torch.randn(2, 4, 16), torch.randn(2, 6, layer.kdim), torch.randn(2, 6, layer.vdim)]
    return parts if layer.batch_first else [part.transpose(0, 1) for part in parts]


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("layer", LAYERS)
def test_it_computes_what_the_layer_of_torch_computes(layer: str, mask: str) -> None:
    theirs, ours = pair(**LAYERS[layer])
    given = tensors(theirs)
    for how in ({}, {"average_attn_weights": False}, {"need_weights": False}):
        expected, found = (part(*given, **MASKS[mask], **how) for part in (theirs, ours))
        torch.testing.assert_close(found[0], expected[0], rtol=1e-4, atol=1e-5)
        assert (found[1] is None) == (expected[1] is None)
        if found[1] is not None:
            torch.testing.assert_close(found[1], expected[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("first", [True, False])
def test_one_sequence_to_itself_and_without_images(first: bool) -> None:
    theirs, ours = pair(batch_first=first)
    for x in (torch.randn(3, 5, 16), torch.randn(5, 16)):
        expected, found = (part(x, x, x) for part in (theirs, ours))
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    causal = torch.ones(5, 5).triu(1).bool()
    expected, found = (
        part(x, x, x, attn_mask=causal, is_causal=True, need_weights=False)[0] for part in (theirs, ours)
    )
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_it_drops_out_as_often_in_training() -> None:
    theirs, ours = (part.train() for part in pair(dropout=0.5))
    x = torch.randn(2, 4, 16)
    for how in ({}, {"need_weights": False}):
        results = []
        for part in (theirs, ours):
            torch.manual_seed(3)
            results.append(torch.stack([part(x, x, x, **how)[0] for _ in range(300)]))
        torch.testing.assert_close(results[0].mean(0), results[1].mean(0), rtol=0.3, atol=0.3)
        assert results[1].std(0).min() > 0


class Encoder(nn.Module):
    """A transformer encoder of torch on patches, which takes a fused path of its own where it can."""

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, 16, 4, stride=4)
        layer = nn.TransformerEncoderLayer(16, 4, 24, **{"batch_first": True, **settings})
        self.encoder, self.head = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(self.embed(x).flatten(2).transpose(1, 2)).mean(1))


@pytest.mark.parametrize("settings", [{}, {"norm_first": True, "activation": "gelu"}, {"batch_first": False}])
def test_heads_of_a_transformer_of_torch(settings: dict[str, Any], wrap: Callable[..., Network], law: Law) -> None:
    torch.manual_seed(0)
    found, removed = law(wrap(Encoder(**settings), (3, 8, 8)), lambda: Encoder(**settings))
    kinds = {group.name: (group.kind, group.size) for group in found.groups}
    for k in "01":
        assert kinds[f"encoder.layers.{k}.self_attn"] == ("heads", 4)
        assert kinds[f"encoder.layers.{k}.linear1"] == ("neurons", 24)
    assert [edit.kind for edit in removed.network.edits] == ["unfold_attention", "remove_channels"]
    attention = removed.network.module.encoder.layers[0].self_attn
    assert attention.num_heads < 4 and attention.in_proj_weight.shape == (3 * 4 * attention.num_heads, 16)
    assert attention.embed_dim == 16 and type(Encoder().encoder.layers[0].self_attn) is nn.MultiheadAttention


class Decoder(nn.Module):
    """Attention of learned queries to patches, with separate projections."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.queries = nn.Conv2d(3, 12, 4, stride=4), nn.Parameter(torch.randn(3, 16))
        self.attention = nn.MultiheadAttention(16, 4, kdim=12, vdim=12, batch_first=True)
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        y = self.embed(x).flatten(2).transpose(1, 2)
        return self.head(self.attention(self.queries.expand(len(x), -1, -1), y, y)[0].mean(1))


def test_heads_of_separate_projections(wrap: Callable[..., Network], law: Law) -> None:
    torch.manual_seed(0)
    found, removed = law(wrap(Decoder(), (3, 8, 8)), Decoder)
    assert ("heads", 4) in [(group.kind, group.size) for group in found.groups]
    part = removed.network.module.attention
    assert part.q_proj_weight.shape[0] == part.k_proj_weight.shape[0] == 4 * part.num_heads < 16


def test_neurons_alone_leave_attention_as_it_is(wrap: Callable[..., Network]) -> None:
    torch.manual_seed(0)
    network, unit = wrap(Encoder(), (3, 8, 8)), Neurons()
    offer = unit.find(network, Selection())
    smaller = unit.remove(network, offer, {"encoder.layers.0.linear1": [1, 2, 3]})[0]
    assert [edit.kind for edit in smaller.edits] == ["remove_channels"]
    assert type(smaller.module.encoder.layers[0].self_attn) is nn.MultiheadAttention


class Looks(Encoder):
    """Its code looks into its attention, and refuses another class than that of torch."""

    def forward(self, x: Tensor) -> Tensor:
        if type(self.encoder.layers[0].self_attn) is not nn.MultiheadAttention:
            raise TypeError("not mine")
        return super().forward(x)


def test_a_network_that_looks_into_its_attention_keeps_it(wrap: Callable[..., Network]) -> None:
    network = wrap(Looks(), (3, 8, 8))
    assert foldable(network.module, torch.randn(2, 3, 8, 8)) == ()
    with pytest.raises(Refusal, match="no head of this network can be removed"):
        Heads().find(network, Selection())


def test_unfolding_alone_changes_nothing_and_is_read_again(wrap: Callable[..., Network]) -> None:
    network = wrap(Encoder(), (3, 8, 8))
    edit = from_json(UnfoldAttention(("encoder.layers.1.self_attn",)).json())
    smaller = apply_edits(network, [edit])
    assert type(smaller.module.encoder.layers[1].self_attn) is Headed
    with unfolded(smaller.module, ["encoder.layers.0.self_attn", "encoder.layers.1.self_attn"]):
        assert type(smaller.module.encoder.layers[0].self_attn) is Headed
    kinds = [type(layer.self_attn) for layer in smaller.module.encoder.layers]
    assert kinds == [nn.MultiheadAttention, Headed]


@pytest.mark.parametrize(
    "entry", [{"paths": []}, {"paths": ["a", "a"]}, {"paths": [""]}, {"paths": "a"}, {"paths": ["a"], "more": 1}, {}]
)
def test_an_entry_of_another_form_is_refused(entry: dict[str, Any]) -> None:
    with pytest.raises(Refusal) as caught:
        from_json({"edit": "unfold_attention", **entry})
    assert caught.value.code == "RCP0714"


@pytest.mark.parametrize("path", ["encoder.layers.7.self_attn", "head"])
def test_a_layer_that_is_not_there_is_refused(path: str, wrap: Callable[..., Network]) -> None:
    with pytest.raises(Refusal) as caught:
        apply_edits(wrap(Encoder(), (3, 8, 8)), [UnfoldAttention((path,))], check=False)
    assert caught.value.code == "RCP0701"
