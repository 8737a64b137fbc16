"""Cross-layer equalization: the formula of the paper, the same answers, and what begins no pair."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from checked import step
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from recipelang.check import check
from recipelang.errors import RecipeError
from recipelang.surgery.equalizing import Pair, equalized, pairs_of, scales_of
from recipelang.surgery.network import Network
from recipelang.surgery.restrictions.mask import Mask
from recipelang.syntax.parse import parse


class Net(nn.Module):
    """Convolutions with and without BatchNorm, a depthwise one, one after ReLU6, a sum, a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.bn = nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8)
        self.depthwise, self.b = nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 6, 1)
        self.capped, self.six = nn.Conv2d(6, 6, 1), nn.ReLU6()
        self.added, self.head = nn.Conv2d(6, 6, 1), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.depthwise(self.bn(self.a(x)).relu()).relu()
        x = self.six(self.capped(self.b(x).relu()))
        return self.head((x + self.added(x)).mean((2, 3)))


@pytest.fixture
def network() -> Network:
    torch.manual_seed(0)
    net = Net().eval()
    with torch.no_grad():
        for part in net.modules():
            if isinstance(part, nn.Conv2d):
                part.weight.mul_(torch.rand(len(part.weight), 1, 1, 1) * 3 + 0.1)
        net.bn.weight.copy_(torch.randn(8))  # some factors are negative
        net.bn.bias.normal_()
        net.bn.running_mean.normal_()  # type: ignore[union-attr]
        net.bn.running_var.uniform_(0.3, 2)  # type: ignore[union-attr]
    return Network(net, {"model": "test"}, (3, 10, 10), classes=tuple("abcd"))


EVERY = ("a", "depthwise", "b", "capped", "added", "head")


def found(network: Network) -> tuple[Pair, ...]:
    return pairs_of(network, EVERY)[0]


@given(st.lists(st.tuples(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3)), min_size=1, max_size=6))
def test_the_scale_is_that_of_the_paper(ranges: list[tuple[float, float]]) -> None:
    first, second = (torch.tensor(each).double() for each in zip(*ranges, strict=True))
    s = scales_of(first, second)
    torch.testing.assert_close(s, (first * second).sqrt() / second)
    torch.testing.assert_close(first / s, second * s)


def test_a_range_of_zero_stays() -> None:
    assert scales_of(torch.tensor([0.0, 2.0]), torch.tensor([1.0, 0.0])).tolist() == [1, 1]


def test_pairs_are_read_from_what_reads_what(network: Network) -> None:
    pairs, left = pairs_of(network, EVERY)
    assert pairs == (Pair("a", "depthwise", "bn"), Pair("depthwise", "b"), Pair("b", "capped"))
    assert "relu6" in left["capped"] or "hardtanh" in left["capped"]
    assert "`__add__`" in left["added"] or "`add`" in left["added"]
    assert left["head"] == "no layer reads its channels"
    assert pairs_of(network, ("a", "b"))[0] == ()


def test_the_answer_stays_and_ranges_become_equal(network: Network) -> None:
    images = torch.randn(4, 3, 10, 10)
    made, moved, left = equalized(network, found(network))
    assert not left and set(moved) == {"a", "depthwise", "b"} and max(moved.values()) > 0.1
    with torch.no_grad():
        torch.testing.assert_close(made.module(images), network.module(images), rtol=1e-4, atol=1e-4)
    net: Any = made.module
    folded: Any = fuse_conv_bn_eval(net.a, net.bn)
    ranges = folded.weight.abs().amax((1, 2, 3)), net.depthwise.weight.abs().amax((1, 2, 3))
    torch.testing.assert_close(*ranges, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(net.a.weight.abs(), folded.weight.abs(), rtol=1e-4, atol=1e-6), "as if folded"
    assert (net.bn.running_var > 0).all() and list(net.state_dict()) == list(network.module.state_dict())
    torch.testing.assert_close(
        net.b.weight.abs().amax((1, 2, 3)), net.capped.weight.abs().amax((0, 2, 3)), rtol=1e-3, atol=1e-4
    )


def test_a_range_for_the_whole_weight_is_better_afterwards(network: Network) -> None:
    from recipelang.methods.quantizers.minmax import MinMax
    from recipelang.surgery.quantizing import weight_grids
    from recipelang.surgery.simulated import running

    images, net = torch.randn(16, 3, 10, 10), network.module
    names = {f"{name}.weight": 0 for name in ("depthwise", "b")}
    factor = torch.logspace(-1, 1, 8)  # channels of very different ranges, in the same function
    with torch.no_grad():
        net.get_parameter("depthwise.weight").mul_(factor.view(-1, 1, 1, 1))
        net.get_parameter("depthwise.bias").mul_(factor)
        net.get_parameter("b.weight").div_(factor.view(1, -1, 1, 1))

    def error(one: Network) -> float:
        grids = weight_grids(one, names, 5, MinMax(per="tensor"))
        with torch.no_grad():
            return float((running(one.restricted(grids))(images) - network.module(images)).square().mean())

    assert error(equalized(network, found(network))[0]) < 0.5 * error(network)


def test_masks_stay(network: Network) -> None:
    keep = torch.rand(6, 8, 1, 1) > 0.5
    masked = network.restricted({"b.weight": Mask("weights", keep)})
    with torch.no_grad():
        masked.module.get_parameter("b.weight").mul_(keep)
    made = equalized(masked, found(masked))[0]
    assert made.masks["b.weight"].holds(made.module.get_parameter("b.weight"))


def test_after_quantize_it_is_refused_at_check() -> None:
    with pytest.raises(RecipeError) as raised:
        check(parse("model digits_resnet\ndata digits\nquantize weights to 8 bits\nequalize\n"))
    assert "RCP1437" in str([d.code for d in raised.value.diagnostics])
    assert check(parse("model digits_resnet\ndata digits\nequalize\nquantize weights to 8 bits\n"))


def test_the_stage_says_what_it_did_and_refuses_what_it_cannot(network: Network) -> None:
    from recipelang.errors import Refusal
    from recipelang.stages import equalize

    def operation(text: str) -> Any:
        return step(text).operation

    context: Any = SimpleNamespace(network=network)
    outcome = equalize.run(operation("equalize"), context)
    assert [figure.value for figure in outcome.reached] == [3]
    assert "begins no pair" in outcome.note and len(outcome.edits) == 3
    with pytest.raises(Refusal) as raised:
        equalize.run(operation('equalize in "head"'), context)
    assert raised.value.code == "RCP1438"
