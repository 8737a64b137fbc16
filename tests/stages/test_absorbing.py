"""High-bias absorption and analytic bias correction, on a network whose BatchNorms make what they say: exact means."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from contexts import Images, context, operation
from torch import Tensor, nn

from recipelang import stages
from recipelang.check import check
from recipelang.errors import RecipeError
from recipelang.kinds import Preprocessing
from recipelang.methods.quantizers.dfq import DFQ
from recipelang.surgery.absorbing import absorbed, absorbing
from recipelang.surgery.network import Network
from recipelang.syntax.parse import parse


class Unseen(Images):
    """Data that nobody may look at."""

    def batches(self, split: str, **_: Any) -> Any:
        raise AssertionError("no data are needed")


def step(start: Network, text: str, folder: Path) -> Any:
    """What a stage makes of a network; nobody looks at the data."""
    asked = operation(f"model digits_resnet\ndata digits\ntrain for 1 steps\n{text}")
    return stages.run(asked, context(start, Unseen(), folder))


PATHS = ("a", "b", "c", "padded", "head")
#: φ(3) − 3 Φ(−3): what a standard normal number is below −3 on average
BELOW = math.exp(-4.5) / math.sqrt(2 * math.pi) - 3 * 0.5 * math.erfc(3 / math.sqrt(2))


class Net(nn.Module):
    """Standard normal inputs pass `a` as they are; then a norm, a ReLU, layers with a bias and with a norm instead."""

    def __init__(self, groups: int = 1) -> None:
        super().__init__()
        self.a, self.an = nn.Conv2d(4, 4, 1, bias=False), nn.BatchNorm2d(4)
        self.b, self.bn = nn.Conv2d(4, 4, (1, 2), bias=False, groups=groups), nn.BatchNorm2d(4)
        self.c, self.padded, self.head = nn.Conv2d(4, 6, 1), nn.Conv2d(6, 6, 3, padding=1), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.c(self.bn(self.b(self.an(self.a(x)).relu())).relu())
        return self.head(self.padded(x.relu()).mean((2, 3)))


def network(groups: int = 1) -> Network:
    torch.manual_seed(0)
    net = Net(groups).eval()
    with torch.no_grad():
        net.a.weight.copy_(torch.eye(4).view(4, 4, 1, 1))
        net.an.weight.copy_(torch.tensor([0.5, -1.0, 0.2, 1.0]))
        net.an.bias.copy_(torch.tensor([4.0, 5.0, 1.0, -1.0]))
        net.an.eps = net.bn.eps = 1e-12
        net.bn.bias.copy_(torch.tensor([9.0, 0.0, 9.0, -1.0]))
    return Network(net, {"model": "test"}, (4, 4, 4), classes=("x", "y", "z"))


def normal(count: int) -> Tensor:
    return torch.randn(count, 4, 4, 4, generator=torch.Generator().manual_seed(1))


def of(net: Network, part: str, images: Tensor) -> Tensor:
    found: list[Tensor] = []
    hook = net.module.get_submodule(part).register_forward_hook(lambda _, __, output: found.append(output.double()))
    with torch.no_grad():
        net.module(images)
    hook.remove()
    return found[0]


@pytest.mark.parametrize("groups", [1, 2])
def test_where_channels_are_above_c_nothing_changes(groups: int) -> None:
    start = network(groups)
    pairs, left = absorbing(start, PATHS)
    assert [(pair.first, pair.second) for pair in pairs] == [("a", "b"), ("b", "c")]
    assert "no BatchNorm" in left["c"]
    made, moved = absorbed(start, pairs)
    assert moved["a"] == pytest.approx(2.5) and set(moved) == {"a", "b"}
    assert made.module.get_parameter("an.bias").tolist() == pytest.approx([1.5, 3.0, 0.6, -1.0])
    images = normal(3000).clamp(-2.9, 2.9)  # no number is more than three deviations below its mean
    one, other = of(start, "bn", images), of(made, "bn", images)
    shift = torch.tensor([6.0, 0.0, 6.0, 0.0]).double().view(1, 4, 1, 1)
    torch.testing.assert_close(one - shift, other, atol=2e-5, rtol=0)


def test_a_layer_that_pads_absorbs_nothing_and_is_named() -> None:
    start = network()
    start.module.c.padding = (1, 1)  # type: ignore[union-attr, assignment]
    pairs, left = absorbing(start, PATHS)
    assert [pair.first for pair in pairs] == ["a"] and "pads with zeros" in left["b"]


def test_means_change_as_the_theory_says() -> None:
    start = network()
    (first, _), _ = absorbing(start, PATHS)
    made, _ = absorbed(start, [first])
    images = normal(40_000)
    change = (of(made, "bn", images) - of(start, "bn", images)).mean((0, 2, 3))
    gamma = torch.tensor([0.5, 1.0, 0.2, 0.0]).double()  # the last channel absorbs nothing
    wanted = start.module.b.weight.double().sum(3).flatten(1) @ (gamma * BELOW)  # type: ignore[operator, union-attr]
    torch.testing.assert_close(change, wanted.detach(), atol=2e-5, rtol=0.05)


def test_analytic_bias_correction_restores_the_mean_without_data(tmp_path: Path) -> None:
    start = network()
    done = step(start, "quantize weights to 3 bits with bias_correction(means=batchnorm)", tmp_path)
    plain = step(start, "quantize weights to 3 bits with nearest", tmp_path)
    images = normal(40_000)

    def mean(net: Network) -> Tensor:
        for name in ("a.weight", "b.weight"):
            net.module.get_parameter(name).data.copy_(net.restrictions[name][0].apply(net.module.get_parameter(name)))
        return of(net, "bn", images).mean((0, 2, 3))

    wanted = of(start, "bn", images).mean((0, 2, 3))
    assert float((mean(plain.network) - wanted).abs().max()) > 0.05
    torch.testing.assert_close(mean(done.network), wanted, atol=0.01, rtol=0)
    assert "no BatchNorm tells the means of its inputs" in done.note and "a.weight" in done.note


def test_the_input_range_is_that_of_the_preprocessing() -> None:
    from dataclasses import replace

    start = network()
    told, why = DFQ().known(start, ["input"])
    assert not told and "not known" in why["input"]
    prepared = Preprocessing((4, 4), (0.5, 0.4, 0.3, 0.2), (0.25, 0.2, 0.5, 0.1))
    told, why = DFQ().known(replace(start, preprocessing=prepared), ["input"])
    assert (float(told["input"].low), float(told["input"].high)) == pytest.approx((-2.0, 8.0)) and not why


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("quantize weights to 8 bits\nabsorb biases", "RCP1437"),
        ("absorb", "RCP0404"),
        ("absorb weights", "RCP0301"),
        ("quantize weights to 8 bits with bias_correction(means=batchnorm) on train(samples=8)", "RCP1402"),
    ],
)
def test_what_is_refused(text: str, code: str) -> None:
    with pytest.raises(RecipeError) as refused:
        check(parse(f"model digits_resnet\ndata digits\ntrain for 1 steps\n{text}\n"))
    assert code in [one.code for one in refused.value.diagnostics]


def test_a_network_without_such_layers_is_refused(tmp_path: Path) -> None:
    from recipelang.errors import Refusal

    bare: Any = nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.ReLU(), nn.Linear(4, 3)).eval()
    with pytest.raises(Refusal, match="no layer can absorb a bias") as refused:
        step(Network(bare, {}, (4, 4, 4)), "absorb biases", tmp_path)
    assert refused.value.code == "RCP1438"
