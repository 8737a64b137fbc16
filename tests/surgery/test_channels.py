"""Which channels may be reordered: everything found may take any order, and everything known to be free is found."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision import models

from recipelang.errors import Refusal
from recipelang.surgery.channels import ChannelGroup, Channels, find_channels
from recipelang.surgery.network import Network
from recipelang.surgery.parity import relative_difference
from recipelang.surgery.permute import Reordering, reorder
from recipelang.surgery.removable import find_removable
from recipelang.surgery.removal import remove_channels
from recipelang.surgery.tracing import evaluating, example_input

Wrap = Callable[..., Network]


def inputs(channels: Channels) -> dict[str, int]:
    """Weight → how many of its input channels may move."""
    found: dict[str, int] = {}
    for group in channels.groups:
        for member in group.at(1):
            found[member.name] = found.get(member.name, 0) + group.size
    return found


def shuffled(
    module: nn.Module, groups: tuple[ChannelGroup, ...], seed: int = 0, leave_out: int | None = None
) -> nn.Module:
    """A copy of the module with every group in a random order; one member of the first group may be left out."""
    moved, chance = copy.deepcopy(module), random.Random(seed)
    held = {**dict(moved.named_parameters()), **dict(moved.named_buffers())}
    if leave_out is not None:
        groups = (ChannelGroup(tuple(m for k, m in enumerate(groups[0].members) if k != leave_out)),)
    orders = [chance.sample(range(group.size), group.size) for group in groups]
    reorderings = [Reordering(group, tuple(order)) for group, order in zip(groups, orders, strict=True)]
    with torch.no_grad():
        for name, value in reorder(held, reorderings).items():
            held[name].copy_(value)
    return moved


def difference(network: Network, other: nn.Module) -> float:
    example = example_input(network)
    with evaluating(network.module), evaluating(other):
        return relative_difference(other(example), network.module(example))


FAMILIES: dict[str, tuple[dict[str, int], int]] = {
    # some weights and how many input channels of theirs are free, and how many weights have free ones
    "resnet18": ({"layer1.0.conv1.weight": 64, "layer1.0.conv2.weight": 64, "fc.weight": 512}, 20),
    "mobilenet_v2": ({"features.2.conv.0.0.weight": 16, "features.2.conv.2.weight": 96}, 35),
    "convnext_tiny": ({"features.1.0.block.3.weight": 96, "features.1.0.block.5.weight": 384}, 40),
    "swin_t": ({"features.1.0.mlp.3.weight": 384, "features.2.reduction.weight": 384}, 40),
    "vit_b_16": (
        {
            "encoder.layers.encoder_layer_0.mlp.3.weight": 3072,
            "encoder.layers.encoder_layer_0.self_attention.in_proj_weight": 768,
            "heads.head.weight": 768,
        },
        37,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family(name: str, wrap: Wrap) -> None:
    torch.manual_seed(0)
    size = {"image_size": 32} if name.startswith("vit") else {}
    network = wrap(models.get_model(name, weights=None, num_classes=7, **size), (3, 32, 32))
    channels = find_channels(network.module, example_input(network))
    free, (known, count) = inputs(channels), FAMILIES[name]
    matrices = {key: n for key, n in free.items() if key.endswith("weight") and n > 1}
    assert {key: free.get(key) for key in known} == known
    assert len(matrices) == count
    assert difference(network, shuffled(network.module, channels.groups)) < 1e-4


def test_bottlenecks_and_plain_runs(wrap: Wrap) -> None:
    torch.manual_seed(0)
    resnet = models.ResNet(models.resnet.Bottleneck, [2, 1, 1, 1], num_classes=7)
    plain = models.vgg11_bn(weights=None, num_classes=7)
    plain.classifier = nn.Sequential(nn.Linear(512 * 7 * 7, 16), nn.ReLU(), nn.Linear(16, 7))
    for module, count in ((resnet, 20), (plain, 8)):
        network = wrap(module, (3, 32, 32))
        channels = find_channels(network.module, example_input(network))
        assert len(inputs(channels)) == count
        assert difference(network, shuffled(network.module, channels.groups)) < 1e-4
    assert channels.frozen["classifier.0.weight", 1] == "`flatten` splits or merges them"
    assert channels.frozen["features.0.weight", 1] == "they are the network's input"


def test_residual_streams_whose_shortcut_pads(resnet20: Network) -> None:
    """Option A: the channels of one stage are in the middle of the next, between zeros."""
    channels = find_channels(resnet20.module, example_input(resnet20))
    weights = [name for name, p in resnet20.module.named_parameters() if p.ndim == 4 and p.shape[1] > 3]
    assert {name: inputs(channels)[name] for name in weights} == {
        name: resnet20.module.get_parameter(name).shape[1] for name in weights
    }
    stream = next(group for group in channels.groups if any(m.name == "layer1.0.conv1.weight" for m in group.at(1)))
    places = {member.name: member.positions for member in stream.at(1)}
    assert places["layer1.0.conv1.weight"] == tuple(range(16))
    assert places["layer2.1.conv1.weight"] == tuple(range(8, 24))
    assert places["layer3.1.conv1.weight"] == tuple(range(24, 40))
    assert difference(resnet20, shuffled(resnet20.module, channels.groups)) < 1e-4


def test_every_member_is_needed(digits: Network) -> None:
    """The check is not vacuous: a member left out changes the answer."""
    channels = find_channels(digits.module, example_input(digits))
    stream, inner = channels.groups[0], channels.groups[-1]
    assert len(stream.members) > 60 and stream.size == 16 and len(inner.members) > 4
    for group in (stream, inner):
        assert difference(digits, shuffled(digits.module, (group,))) < 1e-4
        for number, member in enumerate(group.members):
            assert difference(digits, shuffled(digits.module, (group,), leave_out=number)) > 1e-3, member.name


# -- one operation at a time -------------------------------------------------------------------------


class Around(nn.Module):
    """Tokens B×5×3 → linear to 8 → the operation → mean over all but the batch and the last axis → linear."""

    def __init__(self, operation: Callable[[nn.Module, Tensor], Tensor], **parts: object) -> None:
        super().__init__()
        self.first = nn.Linear(3, 8)
        for name, part in parts.items():
            if isinstance(part, Tensor) and not isinstance(part, nn.Parameter):
                self.register_buffer(name, part)
            else:
                setattr(self, name, part)
        self.operation = operation
        with torch.no_grad():
            out = self.inner(torch.zeros(2, 3, 5, 1))
        self.last = nn.Linear(out.shape[-1], 2)

    def inner(self, x: Tensor) -> Tensor:
        return self.operation(self, self.first(x.flatten(2).transpose(1, 2)))

    def forward(self, x: Tensor) -> Tensor:
        y = self.inner(x)
        return self.last(torch.tanh(y) if y.ndim == 2 else torch.tanh(y).flatten(1, -2).mean(1))


def rows(x: Tensor) -> Tensor:
    return torch.arange(x.shape[-1], dtype=x.dtype)


#: operation, parts of the network, and how many input channels of `last` may be reordered, and how many removed
OPERATIONS: dict[str, tuple[Callable[..., Tensor], dict[str, object], int, int]] = {
    "nothing": (lambda net, x: x, {}, 8, 8),
    "activations": (lambda net, x: F.hardswish(F.gelu(x).clamp(-1, 1)) * torch.sigmoid(x) + 2, {}, 8, 8),
    "in place": (lambda net, x: F.relu_(x).add_(x).mul_(0.5), {}, 8, 8),
    "a bias": (lambda net, x: x + net.b, {"b": nn.Parameter(torch.randn(8))}, 8, 8),
    "a buffer": (lambda net, x: x * net.b, {"b": torch.rand(8)}, 8, 8),
    "one number for all": (lambda net, x: x * net.b, {"b": nn.Parameter(torch.rand(1))}, 8, 8),
    "softmax over them": (lambda net, x: x.softmax(-1), {}, 8, 0),
    "the largest of them": (lambda net, x: x - x.amax(-1, keepdim=True), {}, 8, 0),
    "a norm of the last": (lambda net, x: net.n(x), {"n": nn.LayerNorm(8)}, 8, 0),
    "root mean square": (lambda net, x: net.n(x), {"n": nn.RMSNorm(8)}, 8, 0),
    "a norm of two axes": (lambda net, x: net.n(x), {"n": nn.LayerNorm((5, 8))}, 8, 0),
    "batch norm": (lambda net, x: net.n(x.transpose(1, 2)).transpose(1, 2), {"n": nn.BatchNorm1d(8)}, 8, 8),
    "group norm": (lambda net, x: net.n(x.transpose(1, 2)).mT, {"n": nn.GroupNorm(2, 8)}, 0, 8),
    "group norm of one": (lambda net, x: net.n(x.transpose(1, 2)).mT, {"n": nn.GroupNorm(1, 8)}, 8, 0),
    "instance norm": (lambda net, x: net.n(x.mT).mT, {"n": nn.InstanceNorm1d(8, affine=True)}, 8, 8),
    "prelu": (lambda net, x: net.n(x.mT).mT, {"n": nn.PReLU(8)}, 8, 8),
    "a convolution": (lambda net, x: net.c(x.mT).mT, {"c": nn.Conv1d(8, 6, 3)}, 6, 6),
    "a depthwise convolution": (lambda net, x: net.c(x.mT).mT, {"c": nn.Conv1d(8, 8, 3, groups=8)}, 8, 8),
    "a grouped convolution": (lambda net, x: net.c(x.mT).mT, {"c": nn.Conv1d(8, 8, 3, groups=2)}, 0, 8),
    "a transposed convolution": (lambda net, x: net.c(x.mT).mT, {"c": nn.ConvTranspose1d(8, 8, 3)}, 0, 8),
    "pooling of positions": (lambda net, x: F.max_pool1d(x.mT, 2).mT + F.adaptive_avg_pool1d(x.mT, 2).mT, {}, 8, 8),
    "pooling of channels": (lambda net, x: F.avg_pool1d(x, 2), {}, 0, 0),
    "interpolation": (lambda net, x: F.interpolate(x.mT, scale_factor=2).mT, {}, 8, 8),
    "cat after": (lambda net, x: torch.cat([x, net.l(x)], -1), {"l": nn.Linear(8, 4)}, 12, 12),
    "cat twice": (lambda net, x: torch.cat([x, x.tanh()], -1), {}, 16, 16),
    "cat with a part": (lambda net, x: torch.cat([x[..., 2:5], x], -1), {}, 11, 11),
    "cat of positions": (lambda net, x: torch.cat([net.t.expand(2, 1, 8), x], 1), {"t": torch.rand(8)}, 8, 8),
    "stack": (lambda net, x: torch.stack([x, x.tanh()], 1).sum(1), {}, 8, 8),
    "stack after": (lambda net, x: torch.stack([x, x.tanh()], -1).flatten(-2), {}, 0, 16),
    "pad": (lambda net, x: F.pad(x, (2, 3)), {}, 13, 8),
    "pad by less": (lambda net, x: F.pad(x, (-2, 3)), {}, 9, 6),
    "pad by reflection": (lambda net, x: F.pad(x, (2, 2), mode="reflect"), {}, 0, 0),
    "a slice": (lambda net, x: x[..., 1:5], {}, 4, 4),
    "every other": (lambda net, x: x[..., ::2], {}, 4, 0),
    "one of them": (lambda net, x: x * x[..., :1], {}, 7, 7),
    "one of them, chosen": (lambda net, x: x * x.select(-1, 3).unsqueeze(-1), {}, 7, 4),
    "halves joined": (lambda net, x: x.chunk(2, -1)[0] * x.chunk(2, -1)[1], {}, 4, 4),
    "a gated half": (lambda net, x: F.glu(x, -1), {}, 4, 4),
    "parts apart": (lambda net, x: x.split((2, 6), -1)[1], {}, 6, 6),
    "unbind": (lambda net, x: sum(x.unbind(1)), {}, 8, 8),
    "heads": (lambda net, x: x.unflatten(-1, (2, 4)).transpose(1, 2).softmax(-2).transpose(1, 2).flatten(-2), {}, 0, 8),
    "views that keep": (lambda net, x: x.reshape(-1, 8).view(2, 5, 1, 8).squeeze(2), {}, 8, 8),
    "axes that move": (lambda _, x: x.movedim((0, 2), (2, 0)).swapdims(0, 2).permute(1, 0, 2).movedim(0, 1), {}, 8, 8),
    "views that split": (lambda net, x: x.reshape(2, 5, 4, 2).sum(-1), {}, 0, 4),
    "numbered": (lambda net, x: x + rows(x), {}, 0, 0),
    "turned": (lambda net, x: x.flip(-1), {}, 0, 0),
    "rolled": (lambda net, x: x.roll(1, -1), {}, 0, 0),
    "rolled positions": (lambda net, x: x.roll(1, 1), {}, 8, 8),
    "summed up one after the other": (lambda net, x: x.cumsum(-1), {}, 0, 0),
    "sorted": (lambda net, x: x.sort(-1).values, {}, 0, 0),
    "a product": (lambda net, x: x @ net.w, {"w": nn.Parameter(torch.randn(8, 6))}, 6, 6),
    "a product with itself": (lambda net, x: x @ (x.mT @ x), {}, 8, 8),
    "einsum": (lambda net, x: torch.einsum("btc,cd->btd", x, net.w), {"w": nn.Parameter(torch.randn(8, 6))}, 6, 6),
    "attention": (lambda net, x: F.scaled_dot_product_attention(x, x, net.l(x)), {"l": nn.Linear(8, 6)}, 6, 6),
    "causal attention": (lambda net, x: F.scaled_dot_product_attention(x.mT, x.mT, x.mT, is_causal=True).mT, {}, 0, 0),
    "a layer of attention": (lambda n, x: n.a(x, x, x)[0], {"a": nn.MultiheadAttention(8, 2, batch_first=True)}, 8, 8),
    "one layer twice": (lambda net, x: net.l(torch.relu(net.l(x))), {"l": nn.Linear(8, 8)}, 8, 8),
    "an embedding": (lambda net, x: x + net.e(torch.arange(5)), {"e": nn.Embedding(5, 8)}, 8, 8),
    "expanded": (lambda net, x: x.mean(-1, keepdim=True).expand(-1, -1, 6), {}, 6, 0),
    "repeated": (lambda net, x: x.repeat(1, 1, 2), {}, 16, 16),
    "new zeros": (lambda net, x: torch.cat([x, x.new_zeros(2, 5, 4)], -1), {}, 12, 8),
    "written in part": (lambda net, x: _written(x), {}, 8, 8),
}  # fmt: skip


def _written(x: Tensor) -> Tensor:
    y = torch.zeros_like(x)
    y[..., 2:4] += 1.0
    return x * y


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation(name: str, wrap: Wrap) -> None:
    torch.manual_seed(0)
    operation, parts, free, _ = OPERATIONS[name]
    network = wrap(Around(operation, **parts), (3, 5, 1))
    channels = find_channels(network.module, example_input(network))
    assert inputs(channels).get("last.weight", 0) == free, channels.frozen
    for seed in range(3):
        assert difference(network, shuffled(network.module, channels.groups, seed)) < 1e-4


@pytest.mark.parametrize("name", OPERATIONS)
def test_removal_across_an_operation(name: str, wrap: Wrap, law: Callable[..., object]) -> None:
    torch.manual_seed(0)
    operation, parts, _, free = OPERATIONS[name]

    def build() -> nn.Module:
        return Around(operation, **copy.deepcopy(parts))

    network = wrap(build(), (3, 5, 1))
    found = find_removable(network)
    last = [place for group in found.groups for place in group.places if place.name == "last.weight"]
    assert sum(len(unit) for place in last for unit in place.positions) == free, found.frozen
    if found.groups:
        law(network, build, trains=name != "in place")  # which no network with it does


class Chain(nn.Module):
    """Operations in sequence; between two of them a linear layer brings the last axis back to 8."""

    def __init__(self, names: list[str]) -> None:
        super().__init__()
        self.links = nn.ModuleList(Around(OPERATIONS[name][0], **copy.deepcopy(OPERATIONS[name][1])) for name in names)
        self.back = nn.ModuleList(nn.Linear(link.last.in_features, 3) for link in self.links)

    def forward(self, x: Tensor) -> Tensor:
        for link, back in zip(self.links, self.back, strict=True):
            y = link.inner(x)
            x = back(y.flatten(1, -2)[:, :5]).mT.unsqueeze(-1) + x
        return x.mean((2, 3))


#: these give fewer than five positions, or none
SHORT = {"a convolution", "a depthwise convolution", "a grouped convolution", "pooling of positions", "unbind"}


@given(st.lists(st.sampled_from(sorted({*OPERATIONS} - SHORT)), min_size=2, max_size=4), st.integers(0, 99))
@settings(max_examples=20)
def test_operations_behind_each_other(names: list[str], seed: int) -> None:
    torch.manual_seed(seed)
    network = Network(Chain(names).eval(), {}, (3, 5, 1))
    channels = find_channels(network.module, example_input(network))
    assert difference(network, shuffled(network.module, channels.groups, seed)) < 1e-4


@given(st.lists(st.sampled_from(sorted({*OPERATIONS} - SHORT)), min_size=2, max_size=3), st.integers(0, 99))
@settings(max_examples=8)
def test_removal_across_operations_behind_each_other(names: list[str], seed: int) -> None:
    """What the rules and trials allow to be removed can be: nothing raises, and parity holds."""
    torch.manual_seed(seed)
    network, chance = Network(Chain(names).eval(), {}, (3, 5, 1)), random.Random(seed)
    found = find_removable(network)
    chosen = {group.name: [chance.randrange(group.size)] for group in found.groups}
    if chosen:
        assert not remove_channels(network, found, chosen).stays


class Fickle(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) if x.sum() > 0 else -x.flatten(1)


def test_what_cannot_be_traced_is_refused(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Refusal, match="the network cannot be traced: ") as refusal:
        find_channels(Fickle(), torch.randn(2, 3, 4, 4))
    assert refusal.value.code == "RCP0718"
    assert capfd.readouterr() == ("", "")  # the message is all; torch would print its graph


class Unsaved(nn.Module):
    """A buffer that is created again whenever the network is built, and so must not be reordered."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 8, 1), nn.Linear(8, 2)
        self.register_buffer("scale", torch.rand(8, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.last((self.first(x) * self.scale).mean((2, 3)))


def test_channels_of_a_buffer_that_is_not_saved_stay(wrap: Wrap) -> None:
    network = wrap(Unsaved())
    channels = find_channels(network.module, example_input(network))
    assert channels.groups == ()
    assert channels.frozen["last.weight", 1] == "they are not part of the saved weights"


def test_weights_under_two_names_move_once(wrap: Wrap) -> None:
    torch.manual_seed(0)
    layers = [nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3)]
    module = nn.Sequential(nn.Flatten(), *layers)
    module[5].weight = module[3].weight
    network = wrap(module, (3, 2, 2))
    channels = find_channels(network.module, example_input(network))
    assert inputs(channels) == {"3.weight": 8, "7.weight": 8}
    assert difference(network, shuffled(network.module, channels.groups)) < 1e-4


def test_the_fast_path_of_attention_is_as_it_was(wrap: Wrap) -> None:
    network = wrap(models.VisionTransformer(32, 8, 1, 2, 32, 64, num_classes=7), (3, 32, 32))
    assert torch.backends.mha.get_fastpath_enabled()
    find_channels(network.module, example_input(network))
    assert torch.backends.mha.get_fastpath_enabled()
