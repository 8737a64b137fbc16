"""Places are found by running: what products and sums read, by names that survive surgery elsewhere."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from recipelang.errors import Refusal
from recipelang.kinds import Observed, Scheme
from recipelang.methods.quantizers.minmax import MinMax
from recipelang.nets.cifar_resnet import SmallResNet
from recipelang.plan import Selection, Selector
from recipelang.surgery import artifact
from recipelang.surgery.deployed import deployed
from recipelang.surgery.edits import apply_edits
from recipelang.surgery.edits.remove_layer import RemoveLayer
from recipelang.surgery.folding import folded
from recipelang.surgery.network import Network
from recipelang.surgery.parity import relative_difference
from recipelang.surgery.places import at_places, calls_of, moved, quantizable
from recipelang.surgery.quantizing import activation_grids, places_of, weight_grids
from recipelang.surgery.restrictions.grid import Grid
from recipelang.surgery.simulated import Simulated, computing, running, simulated
from recipelang.surgery.tracing import example_input

BOTH = ("weights", "activations")


def quantized(network: Network, bits: int = 8) -> Network:
    """All weights and activations by minmax on the example."""
    found = places_of(network, Selection(), BOTH)
    grids = weight_grids(network, found.weights, bits, MinMax())
    seen: dict[str, Tensor] = {}
    module = copy.deepcopy(network.module).eval()
    with torch.no_grad(), at_places(module, lambda place, value: seen.setdefault(place, value.clone()) * 0 + value):
        module(example_input(network, 8))
    observed = {place: Observed(seen[place].min(), seen[place].max()) for place in found.activations}
    return network.restricted(grids | activation_grids(observed, bits, MinMax()))


def test_the_places_of_a_residual_network(digits: Network) -> None:
    calls = calls_of(digits.module, example_input(digits))
    found = quantizable(calls)
    assert found["input"] == ("conv1",)
    assert found["layer1.0.bn2:batch_norm"] == ("layer1.0",), "a term of the sum"
    assert set(found["layer1.0:relu"]) == {"layer1.0.conv2"}
    assert set(found["layer1.0:relu[2]"]) == {"layer1.1", "layer1.1.conv1"}, "the convolution and the shortcut"
    assert found[":mean"] == ("linear",)
    assert not any(":conv2d" in place or ":add" in place or "bn1:" in place for place in found), (
        "fused with what follows"
    )
    pads = {place: source for place, source in moved(calls).items() if place.endswith(":pad")}
    assert pads == {"layer2.0:pad": "layer1.4:relu[2]"}
    blocks = len(digits.module.layer1) + len(digits.module.layer2)  # type: ignore[arg-type, union-attr]
    assert len(found) == 3 + 3 * blocks - 1, "the last one is read by the mean alone"


def test_removing_a_layer_leaves_the_other_places(digits: Network) -> None:
    before = quantizable(calls_of(digits.module, example_input(digits)))
    smaller = apply_edits(digits, [RemoveLayer("layer1.1", ("layer1.1",))])
    after = quantizable(calls_of(smaller.module, example_input(smaller)))
    assert set(before) - set(after) == {place for place in before if place.startswith("layer1.1")}
    assert set(after) <= set(before)


def by_hand(network: Network, images: Tensor) -> Tensor:
    """The quantized forward pass of a SmallResNet, written out with torch's own fake quantization."""
    net = network.module
    assert isinstance(net, SmallResNet)
    last = f"layer{net.stages}.{len(net.get_submodule(f'layer{net.stages}')) - 1}:relu[2]"  # read by the mean alone

    def q(place: str, x: Tensor) -> Tensor:
        if place == last:
            return x
        (grid,) = network.restrictions[place]
        assert isinstance(grid, Grid)
        if grid.scheme.axis is None:
            return torch.fake_quantize_per_tensor_affine(x, float(grid.scale), int(grid.zero), 0, 255)
        return torch.fake_quantize_per_channel_affine(x, grid.scale, grid.zero, 0, -127, 127)

    def conv(path: str, x: Tensor) -> Tensor:
        layer = net.get_submodule(path)
        return F.conv2d(x, q(f"{path}.weight", layer.weight), stride=layer.stride, padding=1)  # type: ignore[arg-type]

    x = q(":relu", F.relu(net.bn1(conv("conv1", q("input", images)))))
    for stage in range(1, net.stages + 1):
        for number, block in enumerate(net.get_submodule(f"layer{stage}")):  # type: ignore[arg-type]
            path = f"layer{stage}.{number}"
            branch = q(f"{path}:relu", F.relu(block.bn1(conv(f"{path}.conv1", x))))
            branch = q(f"{path}.bn2:batch_norm", block.bn2(conv(f"{path}.conv2", branch)))
            x = q(f"{path}:relu[2]", F.relu(branch + block.shortcut(x)))
    return F.linear(q(":mean", x.mean(dim=(2, 3))), q("linear.weight", net.linear.weight), net.linear.bias)


@torch.no_grad()
def test_the_simulated_network_is_the_one_written_by_hand(digits: Network) -> None:
    network = quantized(digits)
    network.module.eval()
    images = example_input(digits, 5)
    expected = by_hand(network, images)
    assert torch.equal(running(network)(images), expected)
    torch.testing.assert_close(deployed(network)(images), expected, rtol=1e-4, atol=1e-4)
    assert not torch.equal(network.module(images), expected), "the module itself is untouched"
    assert list(network.module.state_dict()) == list(digits.module.state_dict())


def test_training_passes_through_the_rounding(digits: Network) -> None:
    network = quantized(digits)
    module = network.module.train()
    images = example_input(digits, 5)
    with simulated(module, network.restrictions):
        found = module(images)
    found.sum().backward()
    mine = [parameter.grad.clone() for parameter in module.parameters() if parameter.grad is not None]
    module.zero_grad()
    by_hand(network, images).sum().backward()
    for one, parameter in zip(mine, module.parameters(), strict=True):
        torch.testing.assert_close(one, parameter.grad)
    assert all(bool(gradient.any()) for gradient in mine)


def test_hooks_are_gone_and_a_copy_is_free_of_them(digits: Network) -> None:
    network = quantized(digits)
    with simulated(network.module, network.restrictions):
        network.module(example_input(digits))
        twin = copy.deepcopy(network.module)
        twin(example_input(digits))
        first = network.module.eval()(example_input(digits))
    assert not network.module._forward_pre_hooks and not network.module._forward_hooks
    with torch.no_grad():
        assert torch.equal(running(network).eval()(example_input(digits)), first)


@torch.no_grad()
def test_folding_keeps_every_integer(digits: Network) -> None:
    network = quantized(digits)
    network.module.eval()
    with torch.no_grad():
        network.module.bn1.weight[::2] *= -1  # type: ignore[union-attr, operator, index]
    small = folded(network)
    assert not any(isinstance(part, nn.BatchNorm2d) for part in small.module.modules())
    assert any(place.endswith("conv2:conv2d") for place in small.restrictions)
    for name in ("conv1.weight", "layer1.0.conv2.weight"):
        (before,), (after,) = network.restrictions[name], small.restrictions[name]
        assert isinstance(before, Grid) and isinstance(after, Grid)
        codes = before.codes(network.module.get_parameter(name)), after.codes(small.module.get_parameter(name))
        assert torch.equal(codes[0].abs(), codes[1].abs()) and codes[0].any()
        flipped = (codes[0] != codes[1]).flatten(1).any(1)
        assert flipped.tolist() == [name == "conv1.weight" and k % 2 == 0 for k in range(len(flipped))]
    images = example_input(digits, 16)
    expected, found = running(network)(images), running(small)(images)
    rounding = relative_difference(network.module(images), expected)
    assert relative_difference(found, expected) < rounding / 2, "ties may fall otherwise; nothing else may"


def test_a_selection_chooses_who_reads(digits: Network) -> None:
    only = places_of(digits, Selection((Selector("glob", "layer1.*"),)), BOTH)
    assert all(name.startswith("layer1.") for name in only.weights)
    assert ":relu" in only.activations and "layer2.0:relu" not in only.activations
    assert "input" not in only.activations and "layer1.4:relu[2]" not in only.activations
    ends = Selection((), (Selector("first"), Selector("last")))
    without = places_of(digits, ends, BOTH)
    assert not {"conv1.weight", "linear.weight"} & set(without.weights)
    assert not {"input", ":mean"} & set(without.activations)
    everything = places_of(digits, Selection(), BOTH)
    assert set(everything.weights) - set(without.weights) == {"conv1.weight", "linear.weight"}
    assert set(everything.activations) - set(without.activations) == {"input", ":mean"}
    assert not everything.floating and not everything.inputs
    with pytest.raises(Refusal) as refused:
        places_of(digits, Selection((Selector("glob", "layer9.*"),)), BOTH)
    assert refused.value.code == "RCP0703"


class Odd(nn.Module):
    """Attention, a computed weight, a transposed convolution, a function called twice, and a branch of two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(3, 8, 2)
        self.normed = nn.utils.parametrizations.weight_norm(nn.Conv2d(8, 8, 1))
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.shared = nn.Linear(8, 8)
        self.head = nn.Linear(4, 5)
        self.held = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        x = self.normed(self.up(x)).flatten(2).transpose(1, 2)
        x = x + self.attention(x, x, x, need_weights=False)[0]
        x = self.shared(F.gelu(self.shared(x)))
        x = F.linear(F.silu(x), self.held.weight)  # as attention of windows calls its projections
        first, second = x.chunk(2, dim=-1)
        return self.head((first + second).mean(1))


def test_odd_networks_are_quantized_and_say_what_is_not(wrap: Callable[..., Network]) -> None:
    network = wrap(Odd())
    found = places_of(network, Selection(), BOTH)
    assert found.weights == {
        "up.weight": 1,
        "attention.in_proj_weight": 0,
        "attention.out_proj.weight": 0,
        "shared.weight": 0,
        "head.weight": 0,
        "held.weight": 0,
    }
    assert list(found.floating) == ["normed.weight"] and "computed" in found.floating["normed.weight"]
    assert found.inputs == {"attention.out_proj": "attention computes its input by itself"}
    assert {"input", "up:conv_transpose2d", "shared:linear", ":silu", ":add[2]"} & set(found.activations) == {
        "input",
        "up:conv_transpose2d",
        ":silu",
    }
    assert ":silu" in places_of(network, Selection((Selector("glob", "held"),)), BOTH).activations
    small = quantized(network)
    images = example_input(network)
    with torch.no_grad():
        plain, coarse = network.module.eval()(images), running(small).eval()(images)
        coarser = running(quantized(network, 3)).eval()(images)
    assert 0 < 2 * relative_difference(coarse, plain) < relative_difference(coarser, plain) < 1


def test_moves_hand_the_grid_on() -> None:
    class Moving(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.head = nn.Conv2d(1, 4, 3, padding=1), nn.Linear(16, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(F.max_pool2d(F.relu(self.conv(F.pad(x, (1, 1, 1, 1)))), 5).flatten(1))

    module = Moving().eval()
    calls = calls_of(module, torch.randn(2, 1, 8, 8))
    assert list(quantizable(calls)) == ["input", ":relu"]
    assert moved(calls) == {":pad": "input", ":max_pool2d": ":relu", ":flatten": ":relu"}
    grid = Grid.between(torch.tensor(0.0), torch.tensor(1.0), Scheme(4))
    seen: list[Tensor] = []
    with torch.no_grad(), at_places(module, lambda place, x: grid.apply(x) if place == ":relu" else x):
        module.head.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
        module(torch.randn(2, 1, 8, 8))
    assert torch.equal(grid.apply(seen[0]), seen[0]), "what the layer reads is on the grid"


@pytest.mark.parametrize("per", ["channel", "tensor"])
def test_weights_have_a_grid_for_each_output_or_one(per: str, digits: Network) -> None:
    name, weight = "layer1.0.conv1.weight", digits.module.layer1[0].conv1.weight  # type: ignore[index, union-attr]
    (grid,) = weight_grids(digits, {name: 0}, 4, MinMax(per)).values()
    most = weight.detach().abs().amax((1, 2, 3)) if per == "channel" else weight.detach().abs().max()
    torch.testing.assert_close(grid.scale, most / 7)
    with torch.no_grad():
        weight[0, 0, 0, 0] = float("inf")
    with pytest.raises(Refusal) as refused:
        weight_grids(digits, {name: 0}, 4, MinMax(per))
    assert refused.value.code == "RCP1010"


def test_a_network_that_cannot_be_watched_is_refused(wrap: Callable[..., Network]) -> None:
    class Shy(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            if torch.overrides._get_current_function_mode_stack():
                raise RuntimeError("someone is watching")
            return super().forward(x.flatten(1))

    with pytest.raises(Refusal, match="someone is watching") as refused:
        calls_of(Shy(192, 5), torch.randn(2, 3, 8, 8))
    assert refused.value.code == "RCP1405"


def test_a_place_that_is_not_there_is_refused(digits: Network, tmp_path: Path) -> None:
    grid = Grid.between(torch.tensor(0.0), torch.tensor(1.0), Scheme(8))
    artifact.save(digits.restricted({"layer1.0:add[7]": grid}), tmp_path)
    with pytest.raises(Refusal, match=r"`layer1\.0:add\[7\]` is not a place") as refused:
        artifact.load(tmp_path)
    assert refused.value.code == "RCP1404"
    row = Grid.between(torch.zeros(3), torch.ones(3), Scheme(8, signed=True, symmetric=True, axis=0))
    artifact.save(digits.restricted({"conv1.weight": row}), tmp_path)
    with pytest.raises(Refusal, match="has 3 scales along axis 0") as refused:
        artifact.load(tmp_path)
    assert refused.value.code == "RCP0705"


@torch.no_grad()
def test_a_quantized_network_comes_back(digits: Network, tmp_path: Path) -> None:
    network = quantized(digits)
    artifact.save(network, tmp_path)
    artifact.require_readable(network, tmp_path)
    back, images = artifact.load(tmp_path), example_input(digits, 3)
    assert torch.equal(running(back).eval()(images), running(network).eval()(images))
    assert back.restrictions.keys() == network.restrictions.keys()


def test_networks_without_grids_run_as_they_are(digits: Network) -> None:
    assert running(digits) is digits.module and not computing(digits.restrictions)
    assert not isinstance(deployed(digits), Simulated)
    with simulated(digits.module, digits.restrictions):
        assert not digits.module._forward_pre_hooks


def test_a_removed_layer_takes_its_grids_along(digits: Network) -> None:
    network = quantized(digits)
    smaller = apply_edits(network, [RemoveLayer("layer1.1", ("layer1.1",))])
    gone = set(network.restrictions) - set(smaller.restrictions)
    assert gone and all(place.startswith("layer1.1") for place in gone)
    with torch.no_grad():
        assert running(smaller).eval()(example_input(digits)).isfinite().all()
    assert replace(smaller, restrictions={}).described() != smaller.described()


class Turned(nn.Module):
    """Patches as rows, by an attribute or by a function."""

    def __init__(self, attribute: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.attribute, self.patches, self.linear = attribute, nn.Conv2d(1, 4, 2, 2), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).relu().flatten(2)
        return self.linear(x.mT if self.attribute else x.transpose(1, 2)).mean(1)


def test_what_is_turned_by_an_attribute_has_the_place_of_its_numbers() -> None:
    example = torch.randn(2, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    calls = calls_of(Turned(True).eval(), example)
    assert calls["linear:linear"].reads == (":flatten",) and calls["linear:linear"].computes
    answers = []
    for attribute in (True, False):
        module = Turned(attribute).eval()
        with at_places(module, lambda place, value: value.round() if place == ":flatten" else value):
            answers.append(module(example))
    assert torch.equal(*answers)
