"""Heads and neurons of transformers that nobody prepared: each leaves, and the width of a head stays.

`law` compares with the network whose parameters are zero, replays the log on a new build, and trains a step.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision import models
from torchvision.models.swin_transformer import PatchMergingV2, SwinTransformerBlockV2

from recipelang.errors import Refusal
from recipelang.methods.units.heads import Heads
from recipelang.plan import Selection
from recipelang.surgery.coupled import HEADS, NEURONS
from recipelang.surgery.network import Network
from recipelang.surgery.removable import Removable, find_removable
from recipelang.surgery.removal import Removed

Law = Callable[..., tuple[Removable, Removed]]


class Transformer(nn.Module):
    """One block of attention and gated MLPs on patches; 4 heads of 8 channels, so that widths can be told apart."""

    def __init__(self, attend: Callable[[Any, Tensor], Tensor], qkv: int, kv: int = 0) -> None:
        super().__init__()
        self.attend, self.heads, self.groups, self.width = attend, 4, max(1, kv), 8
        self.embed, self.norm = nn.Conv2d(3, 24, 8, stride=8), nn.LayerNorm(24)
        self.qkv, self.out = nn.Linear(24, qkv), nn.Linear(32, 24)
        if kv:
            self.k, self.v = nn.Linear(24, 8 * kv), nn.Linear(24, 8 * kv)
        self.gate, self.up, self.down = nn.Linear(24, 40), nn.Linear(24, 40), nn.Linear(40, 24)
        self.both, self.back, self.head = nn.Linear(24, 72), nn.Linear(36, 24), nn.Linear(24, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x).flatten(2).transpose(1, 2)
        x = x + self.out(self.attend(self, self.norm(x)))
        x = x + self.down(F.silu(self.gate(x)) * self.up(x))
        gate, up = self.both(x).chunk(2, -1)
        return self.head((x + self.back(F.gelu(gate) * up)).mean(1))


def parts_first(net: Any, x: Tensor) -> Tensor:
    q, k, v = net.qkv(x).reshape(*x.shape[:2], 3, net.heads, net.width).permute(2, 0, 3, 1, 4).unbind(0)
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


def heads_first(net: Any, x: Tensor) -> Tensor:
    q, k, v = net.qkv(x).reshape(*x.shape[:2], net.heads, 3 * net.width).permute(0, 2, 1, 3).chunk(3, -1)
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


def width_first(net: Any, x: Tensor) -> Tensor:
    q, k, v = net.qkv(x).reshape(*x.shape[:2], net.heads, net.width, 3).permute(4, 0, 2, 1, 3)
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


def equations(net: Any, x: Tensor) -> Tensor:
    q, k, v = (part.unflatten(-1, (net.heads, net.width)) for part in net.qkv(x).split(32, -1))
    weights = (torch.einsum("bqhd,bkhd->bhqk", q, k) / net.width**0.5).softmax(-1)
    return torch.einsum("bhqk,bkhd->bqhd", weights, v).reshape(*x.shape[:2], -1)


def batched(net: Any, x: Tensor) -> Tensor:
    """Images and heads are one axis."""
    batch, length = x.shape[:2]
    q, k, v = net.qkv(x).view(batch, length, 3, net.heads, net.width).permute(2, 0, 3, 1, 4).flatten(1, 2)
    mixed = torch.bmm(torch.softmax(torch.bmm(q, k.mT) * net.width**-0.5, -1), v)
    return mixed.view(batch, net.heads, length, net.width).transpose(1, 2).reshape(batch, length, -1)


def shared(net: Any, x: Tensor) -> Tensor:
    q, k, v = (part(x).view(*x.shape[:2], -1, net.width).transpose(1, 2) for part in (net.qkv, net.k, net.v))
    return F.scaled_dot_product_attention(q, k, v, enable_gqa=True).transpose(1, 2).flatten(2)


def repeated(net: Any, x: Tensor) -> Tensor:
    q, k, v = (part(x).view(*x.shape[:2], -1, net.width).transpose(1, 2) for part in (net.qkv, net.k, net.v))
    k, v = (part.repeat_interleave(net.heads // net.groups, 1) for part in (k, v))
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


#: form → (attention, outputs of its first layer, heads of keys and values, units of heads)
FORMS: dict[str, tuple[Callable[[Any, Tensor], Tensor], int, int, int]] = {
    "q k v, heads, width": (parts_first, 96, 0, 4),
    "heads, q k v, width": (heads_first, 96, 0, 4),
    "heads, width, q k v": (width_first, 96, 0, 4),
    "einsum": (equations, 96, 0, 4),
    "one axis of images and heads": (batched, 96, 0, 4),
    "two heads to one of keys": (shared, 32, 2, 2),
    "two heads to one of keys, repeated": (repeated, 32, 2, 2),
    "one head of keys for each": (shared, 32, 4, 4),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_form_of_attention(form: str, wrap: Callable[..., Network], law: Law) -> None:
    attend, qkv, kv, units = FORMS[form]

    def build() -> nn.Module:
        torch.manual_seed(0)
        return Transformer(attend, qkv, kv)

    found, removed = law(wrap(build(), (3, 16, 16)), build)
    assert {group.name: (group.kind, group.size) for group in found.groups} == {
        "qkv": (HEADS, units), "gate": (NEURONS, 40), "both": (NEURONS, 36),
    }  # fmt: skip
    net = removed.network.module
    assert net.out.in_features % 8 == 0 and net.out.in_features < 32 and net.gate.out_features == net.up.out_features


def swin(**more: Any) -> nn.Module:
    return models.SwinTransformer([4, 4], 16, [2, 1], [2, 4], [4, 4], num_classes=5, **more)


def from_timm(name: str, **settings: Any) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        timm = pytest.importorskip("timm")
        sizes = {"img_size": 32, "embed_dim": 32, "depth": 1, "num_heads": 4}
        return timm.create_model(name, pretrained=False, num_classes=5, **(settings or {**sizes, "patch_size": 8}))

    return build


class Answer(nn.Module):
    """A network of Hugging Face, of which the recipe's task sees the logits."""

    def __init__(self, net: nn.Module, *, embedded: bool = False) -> None:
        super().__init__()
        self.net, self.embed = net, nn.Conv2d(3, 32, 8, stride=8) if embedded else None

    def forward(self, x: Tensor) -> Tensor:
        if self.embed is None:
            return self.net(x).logits
        given = self.net(inputs_embeds=self.embed(x).flatten(2).transpose(1, 2))
        return given.logits if hasattr(given, "logits") else given.last_hidden_state.mean(1)[:, :5]


def from_hugging_face(name: str, *, embedded: bool = False, **more: Any) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        hub = pytest.importorskip("transformers")
        kind = name.partition("For")[0].removesuffix("Model")
        sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 48}
        seen = {"vocab_size": 50} if embedded else {"image_size": 32, "patch_size": 8}
        config = getattr(hub, f"{kind}Config")(**{**sizes, **seen, "num_labels": 5, **more})
        return Answer(getattr(hub, name)(config), embedded=embedded)

    return build


#: network of 32² images → how many groups of which kind
NETWORKS: dict[str, tuple[Callable[[], nn.Module], dict[str, int]]] = {
    "torchvision ViT": (
        lambda: models.VisionTransformer(32, 8, 1, 4, 32, 64, num_classes=5),
        {"heads": 1, "neurons": 1},
    ),
    "torchvision Swin": (swin, {"heads": 3, "neurons": 3}),
    "torchvision Swin v2": (
        lambda: swin(block=SwinTransformerBlockV2, downsample_layer=PatchMergingV2),
        {"heads": 3, "neurons": 6},
    ),
    "timm ViT": (from_timm("vit_tiny_patch16_224"), {"heads": 1, "neurons": 1}),
    "timm EVA": (from_timm("eva02_tiny_patch14_224"), {"heads": 1, "neurons": 1}),
    "timm BEiT": (from_timm("beit_base_patch16_224"), {"heads": 1, "neurons": 1}),
    "timm CaiT": (
        from_timm("cait_xxs24_224", img_size=32, patch_size=8, embed_dim=32, depth=1, num_heads=4, depth_token_only=1),
        {"heads": 2, "neurons": 3},
    ),
    "timm XCiT": (
        from_timm("xcit_nano_12_p8_224", img_size=32, embed_dim=32, depth=1, num_heads=4, cls_attn_layers=1),
        {"heads": 2, "neurons": 2, "filters": 2},
    ),
    "timm DaViT": (
        from_timm("davit_tiny", embed_dims=(16, 32), depths=(1, 1), num_heads=(4, 4)),
        {"heads": 4, "neurons": 4},
    ),
    "timm Swin v2": (
        from_timm("swinv2_tiny_window8_256", img_size=32, window_size=4, embed_dim=16, depths=(1, 2), num_heads=(2, 4)),
        {"heads": 3, "neurons": 6},
    ),
    "Hugging Face ViT": (from_hugging_face("ViTForImageClassification"), {"heads": 1, "neurons": 1}),
    "Hugging Face DINOv2, SwiGLU": (
        from_hugging_face("Dinov2ForImageClassification", use_swiglu_ffn=True, mlp_ratio=2),
        {"heads": 1, "neurons": 1},
    ),
    "Hugging Face BERT": (
        from_hugging_face("BertForSequenceClassification", embedded=True),
        {"heads": 1, "neurons": 2},
    ),
    "Hugging Face Llama": (
        from_hugging_face("LlamaModel", embedded=True, num_key_value_heads=2, use_cache=False),
        {"heads": 1, "neurons": 1},
    ),
    "Hugging Face Phi-3": (
        from_hugging_face("Phi3Model", embedded=True, use_cache=False, pad_token_id=0, eos_token_id=1, bos_token_id=1),
        {"heads": 1, "neurons": 1},
    ),
}


SLOW = {"timm CaiT", "timm XCiT", "timm DaViT", "timm Swin v2", "Hugging Face DINOv2, SwiGLU", "Hugging Face Phi-3"}


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow if n in SLOW else ()) for n in NETWORKS])
def test_a_transformer(name: str, wrap: Callable[..., Network], law: Law) -> None:
    make, kinds = NETWORKS[name]

    def build() -> nn.Module:
        torch.manual_seed(0)
        return make()

    found, removed = law(wrap(build(), (3, 32, 32)), build)
    assert Counter(group.kind for group in found.groups) == kinds, found.frozen
    heads = [group for group in found.groups if group.kind == HEADS]
    taken = Counter((place.name, place.axis) for group in found.groups for place in group.places)
    assert all(taken[place.name, place.axis] == 1 for group in heads for place in group.places)  # no width leaves
    assert all(group.size > 1 and group.at("reads") for group in heads)


class OneHead(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Conv2d(3, 16, 8, stride=8), nn.Linear(16, 5)
        self.attention = nn.MultiheadAttention(16, 1, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x).flatten(2).transpose(1, 2)
        return self.head(self.attention(x, x, x)[0].mean(1))


@pytest.mark.parametrize(
    ("build", "why"),
    [
        (OneHead, "no attention of it has several heads"),
        (lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.LazyLinear(5)), "no attention of it has several"),
        (lambda: normed(), "`qkv`: `layer_norm` normalises them together"),
    ],
)
def test_where_no_head_can_go_the_message_speaks_of_attention(
    build: Callable[[], nn.Module], why: str, wrap: Callable[..., Network]
) -> None:
    net = build()
    net(torch.zeros(2, 3, 16, 16))
    with pytest.raises(Refusal) as caught:
        Heads().find(wrap(net, (3, 16, 16)), Selection())
    assert caught.value.code == "RCP0910" and f"no head of this network can be removed: {why}" in str(caught.value)


def normed() -> nn.Module:
    """A norm over all heads together, as in some large EVA."""
    net = Transformer(parts_first, 96)
    net.out = nn.Sequential(nn.LayerNorm(32), nn.Linear(32, 24))  # type: ignore[assignment]
    return net


def test_a_layer_norm_over_the_heads_keeps_them(wrap: Callable[..., Network]) -> None:
    found = find_removable(wrap(normed(), (3, 16, 16)))
    assert found.frozen["qkv"] == "`layer_norm` normalises them together"
    assert [group.kind for group in found.groups] == [NEURONS] * 2
