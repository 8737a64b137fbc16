"""Channels removed from networks: the same function as with their parameters at zero, in every family."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torchvision import models
from torchvision.models.convnext import CNBlockConfig

from recipelang.errors import Refusal
from recipelang.nets.cifar_resnet import SmallResNet, cifar_resnet
from recipelang.runtimes.eager import execution
from recipelang.surgery import artifact
from recipelang.surgery.coupled import module_of
from recipelang.surgery.cuts import Cut
from recipelang.surgery.deployed import deployed
from recipelang.surgery.edits import RemoveLayer, apply_edits, from_json, replay
from recipelang.surgery.edits.remove_channels import RemoveChannels
from recipelang.surgery.network import Network
from recipelang.surgery.randomised import hiding_nothing, randomised
from recipelang.surgery.removable import Removable, find_removable, follow_channels, unit_rows
from recipelang.surgery.removal import Removed, edit_of, remove_channels
from recipelang.surgery.tracing import evaluating, example_input
from recipelang.surgery.without_numbers import run_without_numbers

Build = Callable[[], nn.Module]
Law = Callable[..., tuple[Removable, Removed]]


def share_removed(network: Network, removed: Removed) -> float:
    before, after = (sum(p.numel() for p in n.module.parameters()) for n in (network, removed.network))
    return 1 - after / before


def vgg() -> nn.Module:
    """As torchvision builds it, with a classifier of its own size."""
    features = models.vgg.make_layers([8, "M", 16, "M"], batch_norm=True)
    classifier = nn.Sequential(nn.Linear(16 * 49, 32), nn.ReLU(True), nn.Dropout(), nn.Linear(32, 7))
    return nn.Sequential(features, nn.AdaptiveAvgPool2d(7), nn.Flatten(), classifier)


#: a small network of each family; how many groups of which kind; the least share of parameters at 40 %; who stays
FAMILIES: dict[str, tuple[Build, Mapping[str, int], float, tuple[str, ...]]] = {
    "padded shortcuts": (lambda: SmallResNet((2, 1, 1), (16, 32, 64), 3, 7), {"filters": 5}, 0.4, ("linear",)),
    "projected shortcuts": (
        lambda: models.ResNet(models.resnet.Bottleneck, [1, 1, 1, 1], num_classes=7, width_per_group=16),
        {"filters": 13},
        0.5,
        ("fc",),
    ),
    "VGG with flatten": (
        vgg,
        {"filters": 2, "neurons": 1},
        0.5,
        ("3.3",),
    ),
    "MobileNetV2": (
        partial(models.MobileNetV2, 7, inverted_residual_setting=[[1, 16, 1, 1], [6, 24, 2, 2]]),
        {"filters": 6},
        0.5,
        ("classifier.1",),
    ),
    "DenseNet": (
        partial(models.DenseNet, growth_rate=8, block_config=(2, 2), num_init_features=16, num_classes=7),
        {"filters": 10},
        0.4,
        ("classifier",),
    ),
    "ShuffleNet": (
        partial(models.ShuffleNetV2, [2, 1, 1], [8, 16, 32, 64, 128], 7),
        {"filters": 9},
        0.3,
        ("fc",),
    ),
    "ConvNeXt": (
        lambda: models.ConvNeXt([CNBlockConfig(16, 32, 1), CNBlockConfig(32, None, 1)], num_classes=7),
        {"neurons": 2},
        0.25,
        ("features.0.0", "features.1.0.block.0", "classifier.2"),
    ),
    "ViT": (
        partial(models.VisionTransformer, 32, 8, 2, 4, 32, 64, num_classes=7),
        {"neurons": 2, "heads": 2},
        0.2,
        ("conv_proj", "heads.head"),
    ),
    "grouped": (
        lambda: models.ResNet(models.resnet.Bottleneck, [1, 1, 1, 1], num_classes=7, groups=4, width_per_group=8),
        {"filters": 13},
        0.4,
        ("fc",),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family(name: str, wrap: Callable[..., Network], law: Law) -> None:
    torch.manual_seed(0)
    build, kinds, least, stay = FAMILIES[name]
    network = wrap(build(), (3, 32, 32))
    found, removed = law(network, build)
    counts = {kind: sum(group.kind == kind for group in found.groups) for kind in {g.kind for g in found.groups}}
    assert counts == kinds
    assert share_removed(network, removed) > least
    assert set(stay) <= set(found.frozen) and all(found.frozen.values())


def test_groups_of_a_residual_network(digits: Network) -> None:
    """By hand: the stream of the first stage, padded into the second, and the inside of every block."""
    found = find_removable(digits)
    assert [group.name for group in found.groups] == [
        "conv1",
        *(f"layer1.{k}.conv1" for k in range(5)),
        *(f"layer2.{k}.conv1" for k in range(5)),
    ]
    stream, inner = found.group("conv1"), found.group("layer2.1.conv1")
    assert (stream.size, inner.size) == (16, 32)
    assert inner.makers == ("layer2.1.conv1",)
    assert {(place.name, place.axis): place.role for place in inner.places} == {
        ("layer2.1.conv1.weight", 0): "makes",
        ("layer2.1.bn1.weight", 0): "scales",
        ("layer2.1.bn1.bias", 0): "shifts",
        ("layer2.1.bn1.running_mean", 0): "holds",
        ("layer2.1.bn1.running_var", 0): "holds",
        ("layer2.1.conv2.weight", 1): "reads",
    }
    places = {(place.name, place.axis): place for place in stream.places}
    assert places["layer1.3.conv2.weight", 0].positions == tuple((k,) for k in range(16))
    assert places["layer2.3.conv2.weight", 0].positions == tuple((k + 8,) for k in range(16))
    assert places["linear.weight", 1].role == "reads"
    assert found.frozen == {"linear": "they are the network's output"}


def test_rows_of_units(digits: Network) -> None:
    found, weights = find_removable(digits), dict(digits.module.named_parameters())
    inner, stream = found.group("layer2.1.conv1"), found.group("conv1")
    weight = weights["layer2.1.conv1.weight"].detach()
    assert torch.equal(unit_rows(inner, {"layer2.1.conv1.weight": weight}), weight.flatten(1))
    assert torch.equal(unit_rows(inner, weights, "scales"), weights["layer2.1.bn1.weight"][:, None])
    assert unit_rows(stream, weights).shape == (16, 9 + 5 * 16 * 9 + 5 * 32 * 9)
    assert unit_rows(inner, {}).shape == (32, 0)
    read = unit_rows(inner, weights, "reads")
    assert torch.equal(read, weights["layer2.1.conv2.weight"].movedim(1, 0).flatten(1))


def test_nothing_and_everything_are_refused(digits: Network) -> None:
    found = find_removable(digits)
    for chosen, why in (({}, "no channels were chosen"), ({"conv1": range(16)}, "nothing would remain")):
        with pytest.raises(Refusal, match=why) as caught:
            remove_channels(digits, found, chosen)
        assert caught.value.code == "RCP0755"


def test_a_wrong_cut_of_fitting_shape_is_caught(digits: Network) -> None:
    """One channel is no longer made, another is no longer read."""
    found = find_removable(digits)
    right, other = (edit_of(digits, found, {"layer1.0.conv1": [k]}) for k in (1, 2))
    assert apply_edits(digits, [right]).module.layer1[0].conv1.out_channels == 15
    (made,), (read,) = right.cuts, other.cuts
    reader = ("layer1.0.conv2.weight", 1)
    wrong = (replace(made, places=tuple(p for p in made.places if p != reader)), replace(read, places=(reader,)))
    with pytest.raises(Refusal, match="differs by") as caught:
        apply_edits(digits, [replace(right, cuts=wrong)])
    assert caught.value.code == "RCP0702"


class Auxiliary(nn.Module):
    """A second head that only training uses, as in GoogLeNet."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.more = nn.Conv2d(3, 12, 3), nn.Conv2d(12, 8, 3)
        self.aux, self.head = (
            nn.Sequential(nn.Flatten(), nn.Linear(432, 6), nn.ReLU(), nn.Linear(6, 5)),
            nn.Linear(8, 5),
        )

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        x = self.body(x).relu()
        y: Tensor = self.head(self.more(x).relu().mean((2, 3)))
        return (y, self.aux(x)) if self.training else y


def test_heads_of_training_follow(wrap: Callable[..., Network], law: Law) -> None:
    network = wrap(Auxiliary())
    found, removed = law(network, Auxiliary)
    assert {group.name: group.size for group in found.groups} == {"body": 12, "more": 8, "aux.1": 6}
    assert removed.network.module.aux[1].in_features == 36 * removed.network.module.body.out_channels


class Hidden(Auxiliary):
    """Its training form cannot be captured, so that what the auxiliary head reads must stay."""

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        if self.training and float(x.mean()) > 1e9:
            return x
        return super().forward(x)


def test_what_training_reads_unseen_stays(wrap: Callable[..., Network]) -> None:
    found = find_removable(wrap(Hidden()))
    assert [group.name for group in found.groups] == ["more"]
    assert "`aux.1` fixes their number" in found.frozen["body"]


def test_zeros_hide_nothing(wrap: Callable[..., Network]) -> None:
    """A head at zero gives zeros whatever was removed; the trial has none."""

    class Sums(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.head = nn.Conv2d(3, 8, 3), nn.Linear(1, 5)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(torch.sigmoid(self.a(x)).sum(1, keepdim=True).mean((2, 3)))

    network = wrap(Sums())
    nn.init.zeros_(network.module.head.weight)
    assert "computes something else" in find_removable(network).frozen["a"]


def test_the_artifact_of_a_narrower_network(digits: Network, tmp_path: Path) -> None:
    found = find_removable(digits)
    removed = remove_channels(digits, found, {group.name: [0, 2] for group in found.groups})
    artifact.save(removed.network, tmp_path)
    loaded = artifact.load(tmp_path)
    assert loaded.edits == removed.network.edits and loaded.module.conv1.out_channels == 14
    example = example_input(digits)
    with evaluating(loaded.module), evaluating(removed.network.module):
        assert torch.equal(loaded.module(example), removed.network.module(example))
        assert torch.allclose(deployed(loaded)(example), loaded.module(example), rtol=1e-3, atol=1e-4)
    assert not any(layer.executes == "removed" for layer in execution(loaded))


def test_groups_are_those_of_torch_pruning() -> None:
    """Its rules connect layers, ours follow axes; where it is installed, the groups must be the same."""
    pruning = pytest.importorskip("torch_pruning")
    module, example = models.resnet18(num_classes=7).eval(), torch.randn(2, 3, 64, 64)
    names = {id(part): path for path, part in module.named_modules()}
    graph = pruning.DependencyGraph().build_dependency(module, example_inputs=example)
    theirs = {
        frozenset(
            (names[id(dependency.target.module)], "out" in dependency.handler.__name__)
            for dependency, _ in group
            if isinstance(dependency.target.module, nn.Conv2d | nn.Linear)
        )
        for group in graph.get_all_groups(ignored_layers=[module.fc], root_module_types=[nn.Conv2d])
    }
    ours = {
        frozenset((module_of(place.name), place.role == "makes") for place in group.at("makes", "reads"))
        for group in follow_channels(module, example).groups
    }
    assert ours == theirs


def test_removed_again_and_again(resnet20: Network) -> None:
    """A second removal starts from the network of the first; the log holds both, layers among them."""
    network = resnet20
    for gone in ([1, 5, 6], [0, 12]):
        found = find_removable(network)
        network = remove_channels(network, found, {group.name: gone for group in found.groups}).network
    network = apply_edits(network, [RemoveLayer("layer1.1", ("layer1.1",))])
    assert [edit.kind for edit in network.edits] == ["remove_channels", "remove_channels", "remove_layer"]
    again = cifar_resnet(20)
    replay(again, [from_json(edit.json()) for edit in network.edits])
    again.load_state_dict(network.module.state_dict())
    with evaluating(again), evaluating(network.module):
        assert torch.equal(again(example_input(network)), network.module(example_input(network)))


def test_a_neutralised_network_is_afterwards_as_it_was() -> None:
    """A parameter that loses indices of three axes gets back every bit of it."""
    module = nn.Module()
    module.weight = nn.Parameter(torch.randn(5, 4, 6))
    module.again = module.weight
    before = module.weight.detach().clone()
    gone = ((1, 3), (0,), (2, 5))
    edit = RemoveChannels(
        tuple(Cut(g, n, (("weight", k), ("again", k))) for k, (g, n) in enumerate(zip(gone, before.shape, strict=True)))
    )
    with edit.neutralised(module):
        for axis, indices in enumerate(gone):
            assert not module.weight.index_select(axis, torch.tensor(indices)).any()
        assert torch.equal(edit.left("weight", module.weight), edit.left("weight", before))
        assert int((module.weight != 0).sum()) == 3 * 3 * 4
    assert torch.equal(module.weight, before)


class Squared(nn.Module):
    """Answers that are finite only while its parameters are small, and its first ones equal."""

    def __init__(self, largest: float) -> None:
        super().__init__()
        self.equal, self.other = (
            nn.Parameter(torch.zeros(4)),
            nn.Parameter(torch.full((4, 4), 0.01) + torch.eye(4) / 100),
        )
        self.largest = largest

    def forward(self, x: Tensor) -> Tensor:
        wrong = self.other.abs().max() > 0.1 or self.equal.max() > self.largest
        return x @ self.other * (torch.inf if wrong else 1)


@pytest.mark.parametrize(("largest", "varied"), [(2.0, True), (0.1, False)])
def test_a_network_that_takes_no_random_parameters_keeps_its_own(largest: float, varied: bool) -> None:
    module, example = Squared(largest), torch.randn(2, 4)
    copied = hiding_nothing(module, example)
    assert torch.equal(copied.other, module.other) and copied.other is not module.other
    assert bool((copied.equal != 0).all()) == varied and not module.equal.any()


def test_random_parameters_differ_in_every_row() -> None:
    module = nn.Sequential(nn.Linear(1024, 1100), nn.Linear(1100, 1024))  # more numbers than are drawn
    randomised(module, torch.zeros(2, 1024))
    for layer in module:
        assert len(layer.weight.unique(dim=0)) == len(layer.weight)
        assert len(layer.weight.unique(dim=1)[0]) == layer.weight.shape[1]
        assert float(layer.weight.detach().std()) == pytest.approx((2 / layer.in_features) ** 0.5, rel=0.01)
    assert not torch.equal(module[0].weight[:1024], module[1].weight[:, :1024])


class Caching(nn.Module):
    """Computes something once, and keeps it."""

    def __init__(self) -> None:
        super().__init__()
        self.weight, self.kept, self.last = nn.Parameter(torch.randn(3, 4)), {}, None

    def forward(self, x: Tensor) -> Tensor:
        if "w" not in self.kept:
            self.kept["w"] = self.weight.tanh()
        self.last = x @ self.kept["w"]
        return self.last


def test_a_network_that_keeps_values_keeps_none_without_numbers() -> None:
    module, example = Caching(), torch.randn(2, 3)
    assert torch.equal(run_without_numbers(module, example), example @ module.weight.tanh())
    assert torch.equal(module(example), module.last) and type(module.last) is Tensor is type(module.kept["w"])
